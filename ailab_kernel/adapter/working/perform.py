"""What runs on a study, in the child process: a model by itself, or a report notebook."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ailab_kernel.ground.errors import ParameterError
from ailab_kernel.workspace import Workspace, open_workspace

INFER = "infer"


def perform(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Work on a study.

    Parameters
    ----------
    payload
        ``home``; ``archive``: URL of a folder archive that holds the study and takes the results; ``run``: a model by
        itself (``infer``) or a report notebook's name; its ``parameters``; ``series``: SeriesInstanceUIDs.

    Returns
    -------
    dict
        JSON values: ``objects`` (UID and path of each result), ``report`` (id), ``seconds`` by stage, ``model``
        (reference) and ``findings`` (label, code value, scheme and meaning, ml).
    """
    workspace = open_workspace(home=payload["home"], archive=payload["archive"])
    folder = Path(payload["archive"].removeprefix("folder:"))
    run = _infer if payload["run"] == INFER else _report
    done = run(workspace, payload)
    made = sorted(path for path in folder.glob("*/*/*.dcm") if path.parent.name not in payload["series"])
    return {"objects": [[path.stem, str(path)] for path in made], "report": "", "model": "", "findings": [], **done}


def warm(payload: Mapping[str, Any]) -> None:
    """Open a ``model`` of the lab at ``home`` and import what inference needs."""
    from ailab_kernel.inference.series import prepare
    from ailab_kernel.models import Models

    workspace = open_workspace(home=payload["home"])
    prepare(workspace, Models(workspace.catalog).get(payload["model"]).digest)


def _infer(workspace: Workspace, payload: Mapping[str, Any]) -> dict[str, Any]:
    from ailab_kernel.inference.series import infer_series, prepare
    from ailab_kernel.models import Models
    from ailab_kernel.recipes import find

    model = payload["parameters"].get("model", "")
    if not model:
        msg = "the rule names no model; write parameters = {model = \"heart-wall@champion\"}"
        raise ParameterError(msg)
    bundle = Models(workspace.catalog).get(model)
    prepare(workspace, bundle.digest)
    codes = {label.name: label.code for label in find(bundle.recipe).labels}
    page, seconds, findings = bool(payload["parameters"].get("page", True)), dict[str, float](), []
    for uid in payload["series"]:
        done = infer_series(workspace, bundle.digest, uid, page=page)
        for stage, took in done["seconds"].items():
            seconds[stage] = round(seconds.get(stage, 0.0) + took, 4)
        findings += [[name, codes[name].value, codes[name].scheme, codes[name].meaning, volume]
                     for name, volume in done["volumes_ml"].items()]  # fmt: skip
    return {"seconds": seconds, "model": bundle.ref, "findings": findings}


def _report(workspace: Workspace, payload: Mapping[str, Any]) -> dict[str, Any]:
    from ailab_kernel.reports import recorded

    made = recorded(workspace, payload["run"], {**payload["parameters"], "series": payload["series"]})
    return {"report": made.id, "seconds": {"report": float(made.manifest["seconds"])}}
