"""What a report knows, in words: the facts that checklists and the first table are filled from. Empty: not known."""

import html
import re
from collections.abc import Callable, Mapping

from ailab_kernel.ground.surroundings import surroundings
from ailab_kernel.models.model_card import in_words, tensors
from ailab_kernel.validation.gates import headline, reference_of
from ailab_kernel.validation.metrics import METRICS
from ailab_kernel.validation.study import number, worst
from ailab_kernel.validation.subgroups import ATTRIBUTES

from .studied import Studied, tallied

_SHORT = 16
_UNKNOWN = "not known here"
_SHOWN = ("dice", "nsd", "hd95")
_BY_VOXEL = ("sensitivity", "specificity")
_MOST_LABELS = 4
_SHOWS = {True: "The output is a mask on the image: it shows what was found and where.",
          False: "The output is a score or a probability, which does not show why."}  # fmt: skip
_SIZE = ("No calculation of the size is recorded; under 20 patients the gate refuses a mean, under 50 the shown "
         "interval is a little too narrow.")  # fmt: skip


def facts_of(studied: Studied) -> dict[str, str]:
    """Return every fact by name, in words; one that is not known is an empty text."""
    return {name: of(studied) for name, of in FACTS.items()} | _reference(studied) | _surroundings()


def leakage_said(studied: Studied) -> str:
    """Return the verdict on leakage in one sentence."""
    if not studied.leakage.rows:
        return ("No dataset of this lab is known that a model learned from: nothing can be compared. Models from "
                "elsewhere, base models too, may have learned from anything.")  # fmt: skip
    if not studied.leakage.clean:
        return "Leakage: a patient or an image stands on both sides. The figures say nothing about unseen patients."
    told = ("No leakage: no patient and no image (by the hash of its pixels) of the test cases is among those that a "
            "model of this report learned from in this lab.")  # fmt: skip
    known = {model for model, *_ in studied.leakage.rows}
    outside = [bundle.ref for bundle in studied.models.values() if bundle.ref not in known]
    return f"{told} What {' and '.join(outside)} learned from elsewhere is not known here." if outside else told


def _models(studied: Studied) -> str:
    return " beside ".join(bundle.ref for bundle in studied.models.values())


def _network(studied: Studied) -> str:
    task, target = studied.metadata.get("task", ""), studied.model.network["_target_"].rpartition(".")[2]
    return f"{task} by deep learning ({target})" if task else f"deep learning ({target})"


def _preprocessing(studied: Studied) -> str:
    spacing, window = studied.metadata.get("spacing_mm"), studied.metadata.get("window_hu")
    told = [f"resampled to {' × '.join(f'{step:g}' for step in spacing)} mm"] if spacing else []
    told += [f"values from {window[0]:g} to {window[1]:g} HU scaled to 0 to 1"] if window else []
    text = ", ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if told else ""


def _said(key: str) -> Callable[[Studied], str]:
    """What the model's metadata say under a key, in one line."""
    return lambda studied: in_words(studied.metadata.get(key))


def _made_with(*keys: str) -> Callable[[Studied], str]:
    def _told(studied: Studied) -> str:
        made = studied.metadata.get("made_with")
        found = {key: made[key] for key in keys if key in made} if isinstance(made, Mapping) else {}
        return f"{in_words(found)}." if found else ""

    return _told


def _split(studied: Studied) -> str:
    counts = tallied([case.split for case in studied.data.cases])
    return f"By patient, none in two parts; cases of {studied.data.ref}: {counts}."


def _sources(studied: Studied) -> str:
    sites = studied.tally("site")
    return f"{len(studied.tested)} studies taken in by this lab; sites: {sites or _UNKNOWN}."


def _sites(studied: Studied) -> str:
    sites = studied.tally("site")
    return f"Sites: {sites}." if sites else ""


def _acquired(studied: Studied) -> str:
    thick = [float(case.facts["SliceThickness"]) for case in studied.tested
             if re.fullmatch(r"\d+(\.\d+)?", case.facts.get("SliceThickness", ""))]  # fmt: skip
    told = (("", studied.tally("Modality")), ("scanner ", studied.tally("ManufacturerModelName")),
            ("kernel ", studied.tally("ConvolutionKernel")), ("kV ", studied.tally("KVP")),
            ("slices ", f"{min(thick):.1f} to {max(thick):.1f} mm" if thick else ""))  # fmt: skip
    text = "; ".join(f"{name}{value}" for name, value in told if value)
    return f"{text}." if text else ""


def _demography(studied: Studied) -> str:
    ages = sorted(int(case.facts["PatientAge"][:3]) for case in studied.tested
                  if re.fullmatch(r"\d{3}Y", case.facts.get("PatientAge", "")))  # fmt: skip
    sex = studied.tally("PatientSex")
    told = [f"Sex: {sex}."] if sex else []
    told += [f"Age: {ages[0]} to {ages[-1]} years, median {ages[len(ages) // 2]}."] if ages else []
    return " ".join(told)


def _deidentified(studied: Studied) -> str:
    ways = {str(record.body.get("privacy", {}).get("by", "")) for record in studied.images}
    said = {"source": "the archive had been de-identified before", "": ""}
    told = "; ".join(filter(None, (said.get(way, f"by {way}") for way in sorted(ways))))
    if not told:
        return ""
    return (f"Cases and patients bear pseudonyms; headers stay behind, {told}; this page was searched for identifiers "
            "before it was sealed.")  # fmt: skip


def _criteria(studied: Studied) -> str:
    if not studied.gate:
        return "No acceptance criteria were given."
    criteria = studied.gate.criteria
    title = f'"{criteria.title}"' if criteria.title else "without a title"
    return f"Criteria {title}, fixed before the run, SHA-256 {criteria.digest[:_SHORT]}."


def _verdict(studied: Studied) -> str:
    if not studied.gate:
        return "It was held against no acceptance criteria."
    return html.unescape(re.sub(r"<[^>]+>", "", headline(studied.gate, studied.model.ref, alias=studied.alias)))


def _goal(studied: Studied) -> str:
    return f"May it be {studied.alias}? Held against acceptance criteria." if studied.gate else ""


def _result(studied: Studied) -> str:
    lines = [line for label in studied.summary.intervals if (line := _figures(studied, label, _SHOWN))]
    more = len(lines) - _MOST_LABELS
    told = " ".join(f"{line}." for line in lines[:_MOST_LABELS]) + (f" {more} more labels." if more > 0 else "")
    return " ".join([told, *(f"{name}: {text}." for name, text in studied.scores.items())]).strip()


def _diagnostic(studied: Studied) -> str:
    lines = [line for label in studied.summary.intervals if (line := _figures(studied, label, _BY_VOXEL))]
    told = "By voxel: " + " ".join(f"{line}." for line in lines[:_MOST_LABELS]) if lines else ""
    return " ".join([told, *(f"{name}: {text}." for name, text in studied.scores.items())]).strip()


def _figures(studied: Studied, label: str, metrics: tuple[str, ...]) -> str:
    found = studied.summary.intervals[label]
    told = [f"{METRICS[name].title} {number(one.mean, name)}{_unit(name)} "
            f"({number(one.low, name)} to {number(one.high, name)})"
            for name in metrics if (one := found.get(name))]  # fmt: skip
    return f"{label}: {', '.join(told)}" if told else ""


def _unit(name: str) -> str:
    return f"\N{NO-BREAK SPACE}{METRICS[name].unit}" if METRICS[name].unit else ""


def _subgroups(studied: Studied) -> str:
    if not studied.rows:
        return ""                              # they are worked out of masks alone
    found = studied.subgroups
    places = list(dict.fromkeys(one.place for one in found.groups))
    gaps = [(gap, place) for place in places if (gap := found.gap(*place)) is not None]
    shown = ", ".join(dict.fromkeys(ATTRIBUTES[attribute][0] for attribute, _ in places))
    alike = ", ".join(ATTRIBUTES[key][0] for key, name in found.same.items() if name)
    told = [f"Shown by {shown}."] if shown else ["No attribute tells the cases apart."]
    told += [f"All cases are alike in {alike}."] if alike else []
    if gaps:
        gap, (attribute, label) = max(gaps)
        told.append(f"Largest gap between groups: {number(gap, found.metric)} {METRICS[found.metric].title}, {label} "
                    f"by {ATTRIBUTES[attribute][0]}.")  # fmt: skip
    elif shown:
        told.append("Too few patients in the groups for a gap.")
    return " ".join(told)


def _unknown(studied: Studied) -> str:
    names = [ATTRIBUTES[key][0] for key, name in studied.subgroups.same.items() if not name]
    return f"Not known of these cases: {', '.join(names)}." if names else ""


def _presence(studied: Studied) -> str:
    labels = dict.fromkeys(row.label for row in studied.rows)
    if not labels:
        return ""
    told = [f"{label} in {sum(row.values.get('truth_ml', 0) > 0 for row in studied.rows if row.label == label)}"
            for label in labels]  # fmt: skip
    return f"Cases in which the reference has it: {', '.join(told)}."


def _failures(studied: Studied) -> str:
    failed = len(studied.failures)
    return f"{failed} of {len(studied.tested)} cases failed." if failed else "No case failed."


def _comparison(studied: Studied) -> str:
    told = [f"{label}: {METRICS[one.metric].title} {number(one.difference.mean, one.metric, sign='+')} "
            f"({number(one.difference.low, one.metric, sign='+')} to "
            f"{number(one.difference.high, one.metric, sign='+')})"
            for label, one in studied.comparisons.items()]  # fmt: skip
    return f"{_models(studied)}, paired difference: {'; '.join(told)}." if told else ""


def _statistics(studied: Studied) -> str:
    if not studied.rows:
        return ("Area under the ROC curve with DeLong's 95 % interval; FROC and calibration over all cases; a gate "
                "goes by the strictest of several 97.5 % bounds.")  # fmt: skip
    return (f"Means with 95 % intervals by BCa bootstrap over patients (seed {studied.seed}); a gate goes by the "
            "97.5 % bound; paired differences by Wilcoxon's signed ranks; groups by rank sums, adjusted by Holm.")


def _plots(studied: Studied) -> str:
    if not studied.rows:
        return f"{' and '.join(studied.scores)}, drawn." if studied.scores else ""
    paired = ["paired plot"] if studied.comparisons else []
    return ", ".join(["Dot plot and Bland-Altman plot", *paired, "subgroups with intervals", "worst five"]) + "."


def _beside(studied: Studied) -> str:
    refs = ", ".join(dict.fromkeys(learned for _, learned, *_ in studied.leakage.rows))
    return f"The table of the cases has those of {refs}, too." if refs else ""


FACTS: Mapping[str, Callable[[Studied], str]] = {
    "acquired": _acquired,
    "beside": _beside,
    "cases": lambda studied: str(len(studied.tested)),
    "chosen": _made_with("best epoch", "epochs"),
    "comparison": _comparison,
    "criteria": _criteria,
    "dataset": lambda studied: studied.data.ref,
    "deidentified": _deidentified,
    "demography": _demography,
    "diagnostic": _diagnostic,
    "digest": lambda studied: f"SHA-256 {studied.data.digest[:_SHORT]}",
    "failures": _failures,
    "goal": _goal,
    "initial": lambda studied: _made_with("base")(studied) and f"From {_made_with('base')(studied)}",
    "inputs": lambda studied: tensors(studied.metadata, "inputs"),
    "intended": _said("intended_use"),
    "internal": _said("performance"),
    "labels": lambda studied: ", ".join(label.name for label in studied.data.labels),
    "leakage": leakage_said,
    "limits": _said("limits"),
    "metrics": lambda studied: ", ".join([*dict.fromkeys(
        METRICS[name].title for found in studied.summary.intervals.values() for name in found), *studied.scores]),
    "model": lambda studied: studied.model.ref,
    "model_digest": lambda studied: f"SHA-256 {studied.model.digest[:_SHORT]}",
    "models": _models,
    "network": _network,
    "outputs": lambda studied: tensors(studied.metadata, "outputs"),
    "patients": lambda studied: str(studied.patients),
    "phantom": lambda studied: "yes" if studied.phantoms == len(studied.tested) else "",
    "plots": _plots,
    "preprocessing": _preprocessing,
    "presence": _presence,
    "result": _result,
    "shows": lambda studied: _SHOWS[bool(studied.rows)],
    "sites": _sites,
    "size": lambda _: _SIZE,
    "sources": _sources,
    "split": _split,
    "statistics": _statistics,
    "subgroups": _subgroups,
    "training": _said("training_data"),
    "unknown": _unknown,
    "verdict": _verdict,
    "worst": lambda studied: ", ".join(worst(studied.rows, metric="dice", count=5)),
}  # fmt: skip


def _reference(studied: Studied) -> dict[str, str]:
    rows = reference_of(studied.catalog, studied.data).rows
    found = {"frozen": rows["frozen"], "readers": rows["reference drawn by"],
             "reviewers": rows["reference accepted by"]}  # fmt: skip
    return {key: "" if value == _UNKNOWN else value for key, value in found.items()}


def _surroundings() -> dict[str, str]:
    here = surroundings()
    return {"versions": ", ".join(f"{name} {one}" for name, one in here["versions"].items()),
            "lock": here["lock"][:_SHORT], "code": here["code"][:_SHORT]}  # fmt: skip
