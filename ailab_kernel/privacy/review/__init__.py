"""What a person is to look at before an object is released, and what they decided: boxes over frames, and a journal."""

from .log import Course, Log, State, Taken, take, taken_of
from .places import Place, boxes_of, places_of
from .proposal import Proposal, doubts, proposals_in

REVIEW = "review"                              # the folder of both, beside the journal of a run

__all__ = ["REVIEW", "Course", "Log", "Place", "Proposal", "State", "Taken", "boxes_of", "doubts", "places_of",
           "proposals_in", "take", "taken_of"]  # fmt: skip
