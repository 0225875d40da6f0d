"""What runs on which study: rules as TOML, judged in the open, so that a person can ask why."""

from .conditions import Condition, condition
from .doors import Act, Bearer, HubDoor, Tls, WebDoor
from .facts import SeriesFacts, StudyFacts, facts_of
from .hours import Hours
from .judging import Judgement, judge
from .rule import Completeness, Destination, Plan, Priority, Rule, read_plan

__all__ = [
    "Act", "Bearer", "Completeness", "Condition", "Destination", "Hours", "HubDoor", "Judgement", "Plan", "Priority",
    "Rule", "SeriesFacts", "StudyFacts", "Tls", "WebDoor", "condition", "facts_of", "judge", "read_plan",
]  # fmt: skip
