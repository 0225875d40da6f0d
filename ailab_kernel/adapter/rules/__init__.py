"""What runs on which study: rules as TOML, judged in the open, so that a person can ask why."""

from .conditions import Condition, condition
from .facts import SeriesFacts, StudyFacts, facts_of
from .judging import Judgement, judge
from .rule import Completeness, Destination, Plan, Priority, Rule, read_plan

__all__ = [
    "Completeness", "Condition", "Destination", "Judgement", "Plan", "Priority", "Rule", "SeriesFacts", "StudyFacts",
    "condition", "facts_of", "judge", "read_plan",
]  # fmt: skip
