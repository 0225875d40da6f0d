"""The seed's sample scenario (section 3.4) as data: what Andrew does, and what each size is expected to take."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Expectation:
    """One row of the seed's performance table; times are processing time, without the human part.

    Attributes
    ----------
    workflow, metric
        The seed's words.
    studies
        How many studies the row speaks of.
    pilot, small
        The seed's words for the two sizes.
    goal_s
        Our own goal on 2 cores, seconds.
    """

    workflow: str
    metric: str
    studies: int
    pilot: str
    small: str
    goal_s: float


SCENARIO = (
    Expectation("Annotate", "Annotate 100 chest CT studies (serially)", 100, "Hours", "<1 Hour", 180.0),
    Expectation("Train", "Fine-tune 1 model with 100 annotated chest CT studies", 100, "Hours", "<1 Hour", 600.0),
    Expectation("Validate", "Validate model with 20 studies (serially)", 20, "<1 Hour", "<1 Minute", 30.0),
    Expectation("Infer", "Infer 30 studies (serially)", 30, "<1 Hour", "<1 Minute", 20.0),
)
