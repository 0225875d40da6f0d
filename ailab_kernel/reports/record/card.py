"""The model's card with what this validation measured: goal, result and meaning, for efficacy, fairness and safety."""

from collections.abc import Mapping

from ailab_kernel.models.model_card import ModelCard, model_card

from .checklists import told
from .studied import Studied

_DATA = "{dataset}: {cases} cases of {patients} patients."
_PHANTOMS = "{dataset}: {patients} phantoms, no patient: they prove plumbing and statistics, not clinical value."
_GROUPS = "Groups of fewer than 10 patients have no figure; of groups that are not here nothing is known."
# CHAI's key metrics: what each part answers, in sentences of the report's facts; one with an unknown fact is left out.
_METRICS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "UsefulnessUsabilityEfficacy": {"MetricGoal": ("Agreement with the reference annotation of {labels}.",),
                                    "Results": ("{result}",), "Interpretation": ("{verdict}",)},
    "FairnessEquity": {"MetricGoal": ("As good for every group that the cases tell apart.",),
                       "Results": ("{subgroups}",), "Interpretation": (_GROUPS, "{unknown}")},
    "SafetyReliability": {"MetricGoal": ("No case fails; the worst cases are known.",), "Results": ("{failures}",),
                          "Interpretation": ("The worst cases: {worst}.",)},
}  # fmt: skip


def card_of(studied: Studied, facts: Mapping[str, str]) -> ModelCard:
    """Return the card of the validated model, its key metrics filled from the report.

    Parameters
    ----------
    studied, facts
        What was found, and in words (`facts_of`).
    """
    about = {"TestType": ("Technical validation, standalone and retrospective.",),
             "TestingDataDescription": (_PHANTOMS if facts.get("phantom") else _DATA,),
             "ValidationProcessAndJustification": ("{statistics}", "{leakage}")}  # fmt: skip
    measured = {f"{kind}.{name}": told(sentences, facts)
                for kind, texts in _METRICS.items() for name, sentences in {**about, **texts}.items()}  # fmt: skip
    return model_card(studied.model, more=studied.metadata, measured=measured)
