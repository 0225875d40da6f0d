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
        JSON values: ``objects`` (UID and path of each result), ``report`` (id), ``seconds`` by stage.
    """
    workspace = open_workspace(home=payload["home"], archive=payload["archive"])
    folder = Path(payload["archive"].removeprefix("folder:"))
    run = _infer if payload["run"] == INFER else _report
    report, seconds = run(workspace, payload)
    made = sorted(path for path in folder.glob("*/*/*.dcm") if path.parent.name not in payload["series"])
    return {"objects": [[path.stem, str(path)] for path in made], "report": report, "seconds": seconds}


def _infer(workspace: Workspace, payload: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    from ailab_kernel.inference.series import infer_series, prepare
    from ailab_kernel.models import Models

    model = payload["parameters"].get("model", "")
    if not model:
        msg = "the rule names no model; write parameters = {model = \"heart-wall@champion\"}"
        raise ParameterError(msg)
    digest = Models(workspace.catalog).get(model).digest
    prepare(workspace, digest)
    page, seconds = bool(payload["parameters"].get("page", True)), dict[str, float]()
    for uid in payload["series"]:
        for stage, took in infer_series(workspace, digest, uid, page=page)["seconds"].items():
            seconds[stage] = round(seconds.get(stage, 0.0) + took, 4)
    return "", seconds


def _report(workspace: Workspace, payload: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    from ailab_kernel.reports import recorded

    made = recorded(workspace, payload["run"], {**payload["parameters"], "series": payload["series"]})
    return made.id, {"report": float(made.manifest["seconds"])}
