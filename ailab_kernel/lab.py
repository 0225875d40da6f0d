"""The lab that a notebook holds: verbs that open rooms when they are first used.

Rooms do the work; verbs run the report notebooks that call them, so that whatever a verb did can be read, verified
and replayed.
"""

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import AilabError, NotFound, WrongUse
from ailab_kernel.ground.identifiers import KINDS
from ailab_kernel.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from pydicom import Dataset

    from ailab_kernel.annotation.task import Task
    from ailab_kernel.archives.archive import Archive, Series, Study
    from ailab_kernel.datasets.dataset import Datasets
    from ailab_kernel.models import Bundle, Models
    from ailab_kernel.privacy.desk.widget import Review
    from ailab_kernel.recipes.recipe import Recipe
    from ailab_kernel.reports import Replay, Report
    from ailab_kernel.volumes.volume import Volume
    from ailab_kernel.work.jobs import Jobs


@dataclass(frozen=True)
class Run:
    """A training run: its report, and the model that came out of it."""

    report: "Report"
    model: "Bundle"

    def _repr_html_(self) -> str:
        return self.report._repr_html_() + self.model._repr_html_()


@dataclass(frozen=True)
class Lab:
    """An opened lab. See `open_lab`."""

    workspace: Workspace

    @property
    def home(self) -> Path:
        """Folder of the lab's catalog, objects, runs and reports."""
        return self.workspace.home

    @property
    def archive(self) -> "Archive":
        """The image archive: ``lab.archive.search(modality="CT", description="*chest*")``."""
        return self.workspace.archive

    @cached_property
    def models(self) -> "Models":
        """Models by name, version and alias."""
        from ailab_kernel.models import Models

        return Models(self.workspace.catalog)

    @cached_property
    def datasets(self) -> "Datasets":
        """Frozen dataset versions."""
        from ailab_kernel.datasets.dataset import Datasets

        return Datasets(self.workspace.catalog)

    @cached_property
    def jobs(self) -> "Jobs":
        """Durable jobs: reports that run later, and survive a kill."""
        from ailab_kernel.work.jobs import Jobs

        return Jobs(self.workspace.jobs_url, kinds={"report": "ailab_kernel.lab:run_job"})

    def volume(self, series: "Series") -> "Volume":
        """Read a series of the archive as a volume."""
        from ailab_kernel.datasets.intake import read_series
        from ailab_kernel.privacy.exits import learn_from
        from ailab_kernel.volumes.series import attributes_of

        volume = read_series(self.archive, series)
        if not self.workspace.catalog.roles_enforced:     # else the archive's proxy did both
            marks = next(attributes_of(volume.headers, "PatientIdentityRemoved", *KINDS), {})
            learn_from(self.workspace.catalog, marks)
            self.workspace.catalog.audit("access", study=volume.study_uid, series=volume.series_uid)
        return volume

    def annotate(
        self, studies: "Sequence[Study]", *, label: str, assist: str = "", reader: str = "none", reason: str = "",
        seg: "Dataset | str" = "", take_over: bool = False, readers: Sequence[str] = (), adjudicator: str = "",
        consensus: str = "majority", order: str = "first", scores: Mapping[str, float] | None = None, seed: int = 7,
    ) -> "Task":  # fmt: skip
        """Make an annotation task on studies, let a model propose, and return the task.

        With a person's login as ``reader`` the first case that is not accepted opens in the cell: drawn with a mouse,
        each stroke on the disk before it is acknowledged, saved as SEG to the archive.

        Parameters
        ----------
        studies
            From a search; each study's main image series is annotated.
        label
            What to draw: a recipe's name in words (``heart wall``).
        assist
            Model that proposes, e.g. ``heart-wall@champion``; empty: none.
        reader
            ``none`` leaves the proposals for a person; ``simulated`` and ``reference`` need a SEG in the archive
            (phantoms have one) and are marked as such. Anything else is the login of who draws.
        reason
            Why studies that are not marked as de-identified may enter research; recorded.
        seg, take_over
            Of `annotation.desk.open_desk`, for a person.
        readers
            Logins of those who read every case, each with `read`; two or more read blind to each other.
        adjudicator
            Login of who alone reviews; begins with the readings' consensus.
        consensus
            ``majority`` or ``staple``.
        order, scores, seed
            Which case comes first: ``first`` (as found), ``random`` by the seed, or ``uncertain`` with the highest of
            the ``scores`` by SeriesInstanceUID first; by default those that ``assist`` was given when it proposed.
        """
        from ailab_kernel.annotation.assist import READERS, worklist
        from ailab_kernel.annotation.task import create_task, get_task
        from ailab_kernel.datasets.intake import main_series

        model = self.models.get(assist) if assist else None
        digest = model.digest if model else ""
        uids = worklist(self.workspace.catalog, [main_series(study).uid for study in studies], order, model=digest,
                        scores=scores, seed=seed)  # fmt: skip
        people: dict[str, Any] = {"readers": readers, "adjudicator": adjudicator, "consensus": consensus}
        task = create_task(self.workspace, _recipe(label, model), uids, assist=digest, reason=reason, **people)
        person = reader not in READERS
        if assist or not (person or readers):
            told = {"task": task.ref, "reader": "none" if person else reader}
            self._run("annotate", told, resolved={"task": task.record.digest})
        if person:
            self._show_desk(task.ref, reader=reader, seg=seg, take_over=take_over)
        return get_task(self.workspace, task.ref)

    def read(self, ref: str, *, reader: str = "", series: str = "", **asked: Any) -> None:
        """Open a task's next case in the cell: for its reader, its reviewer or its adjudicator.

        Parameters
        ----------
        ref
            ``heart-wall`` (newest) or ``heart-wall@2``.
        reader
            Your login; by default whoever runs this.
        series
            SeriesInstanceUID (0020,000E) of another case than the next one.
        asked
            More of `annotation.desk.open_desk`.
        """
        self._show_desk(ref, reader=reader or _login(), series_uid=series, **asked)

    def _show_desk(self, ref: str, **asked: Any) -> None:
        from IPython.display import display

        from ailab_kernel.annotation.desk import show_desk

        display(*show_desk(self.task(ref), **asked))

    def redact(
        self, source: str | Path, out: str | Path, *, key_file: str | Path, profile: str = "research",
        journal: str | Path | None = None, reader: str = "", **treated: Any,
    ) -> "Review":  # fmt: skip
        """De-identify a folder or an archive, and show in the cell what was masked or doubted, for you to decide.

        Nothing of that is released before. Run it again to go on; ``.release()`` of what is returned, the button or
        ``ailab deidentify SOURCE OUT --review`` releases what is decided. It shows patients.

        Parameters
        ----------
        source, out, key_file, profile, journal
            As of ``ailab deidentify``.
        reader
            Your login, of which a pseudonym is made; by default whoever runs this.
        treated
            More of `privacy.bulk.Treatment`.

        Raises
        ------
        WrongUse
            Roles are enforced here: a kernel sees no originals.
        """
        from ailab_kernel.annotation.reading.rules import person
        from ailab_kernel.datasets.deidentified import place_of
        from ailab_kernel.datasets.reviewing import open_review
        from ailab_kernel.privacy.bulk import Treatment
        from ailab_kernel.privacy.rules.profile import profile_of
        from ailab_kernel.privacy.rules.standins import read_key

        catalog = self.workspace.catalog
        if catalog.roles_enforced:
            msg = "originals are shown on the clinical side only: run this in a one-user lab there, not behind the hub"
            raise WrongUse(msg)
        treatment = Treatment(profile_of(profile), read_key(Path(key_file)), **treated)
        who = person(catalog, reader or _login())
        return open_review(place_of(str(source)), place_of(str(out)), treatment, who=who, audit=catalog.audit,
                           journal=Path(journal) if journal else None)  # fmt: skip

    def agreement(self, ref: str, *, seed: int = 7) -> "Report":
        """Compare the blind readings of a task, as they are in now; ``seed`` is that of the intervals.

        Raises
        ------
        WrongUse
            No case was handed in by all of its readers.
        """
        task = self.task(ref)
        parameters = {"task": task.ref, "steps": list(task.compared()), "seed": seed}
        return self._run("agreement", parameters, resolved={"task": task.record.digest})

    def task(self, ref: str) -> "Task":
        """Return an annotation task: ``heart-wall`` (newest) or ``heart-wall@2``."""
        from ailab_kernel.annotation.task import get_task

        return get_task(self.workspace, ref)

    def train(self, dataset: str, *, base: str, seed: int = 7, epochs: int = 0) -> Run:
        """Fine-tune a base model on a dataset version; the same command resumes or returns the same run.

        Parameters
        ----------
        dataset
            ``heart-wall@1``.
        base
            ``heart-wall@general``.
        seed
            Of everything random.
        epochs
            At most; 0 takes the recipe's number.
        """
        learned, model = self.datasets.get(dataset), self.models.get(base)
        parameters = {"dataset": learned.ref, "base": model.ref, "seed": seed, "epochs": epochs}
        report = self._run("train", parameters, resolved={"dataset": learned.digest, "model": model.digest})
        return Run(report, self.models.get(str(report.metrics["model"])))

    def validate(
        self, *, model: "str | Bundle", dataset: str, baseline: str = "", alias: str = "champion",
        criteria: "str | Path" = "", seed: int = 7,
    ) -> "Report":  # fmt: skip
        """Score a model on a dataset version's test cases, beside a baseline, and hold it against acceptance criteria.

        Parameters
        ----------
        model
            Reference or bundle.
        dataset
            ``heart-wall@1``; its patients must be unknown to both models.
        baseline, alias, criteria, seed
            Of `validation.gates.ask`: beside which model, for which alias, by which criteria it is judged.
        """
        from ailab_kernel.validation.gates import ask

        asked = ask(self.workspace.catalog, self._model(model), self.datasets.get(dataset), baseline=baseline,
                    alias=alias, criteria=criteria, seed=seed)  # fmt: skip
        return self._run("validate", asked.parameters, resolved=asked.resolved)

    def infer(self, *, model: "str | Bundle", studies: "Sequence[Study]", store: bool = True) -> "Report":
        """Run a model on studies; SEG and SR go back to the archive when ``store`` is set."""
        from ailab_kernel.datasets.intake import main_series

        used = self._model(model)
        series = [main_series(study).uid for study in studies]
        if not series:
            msg = "no studies to infer on: the search found none; widen it (ailab archive search)"
            raise NotFound(msg)
        parameters = {"model": used.ref, "series": series, "store": store}
        return self._run("infer", parameters, resolved={"model": used.digest})

    def report(self, report_id: str) -> "Report":
        """Return a report by its id."""
        from ailab_kernel.reports import get_report

        return get_report(self.home, report_id)

    def reports(self) -> "Sequence[Report]":
        """Return every report, newest first."""
        from ailab_kernel.reports import list_reports

        return list_reports(self.home)

    def replay(self, report: "Report | str", **asked: Any) -> "Replay":
        """Run a report, or the inference behind a SEG, again from its record: identical, or what differs and why.

        Parameters
        ----------
        report
            A report, its id, or the SOP Instance UID (0008,0018) of a SEG that `infer` made.
        asked
            ``engine``, ``rebuild``, ``code``, ``allow`` of `reports.run_again`.

        Raises
        ------
        ModelChanged, SealBroken
            A model or dataset that it used is no longer what it was.
        """
        from ailab_kernel.reports import run_again

        return run_again(self.workspace, report, verify_inputs=self.check_inputs, **asked)

    def verify(self, report_id: str) -> tuple[str, ...]:
        """Return what is wrong with a report: its seal, its files, its inputs; empty when all is intact."""
        from ailab_kernel.reports import verify

        report = self.report(report_id)
        findings = list(verify(report, verify_signature=self.workspace.catalog.verify))
        try:
            self.check_inputs(report.manifest.get("resolved", {}))
        except AilabError as error:
            findings.append(str(error))
        return tuple(findings)

    def check_inputs(self, resolved: Mapping[str, str]) -> None:
        """Raise ModelChanged or SealBroken unless every model and dataset among the digests is intact."""
        for kind, digest in resolved.items():
            if digest and kind in {"model", "baseline"}:
                self.models.find(digest).check()
            elif digest and kind == "dataset":
                self.datasets.check(self.datasets.find(digest))
            elif digest and kind == "criteria":
                self.workspace.catalog.check(digest)

    def _model(self, model: "str | Bundle") -> "Bundle":
        return self.models.get(model if isinstance(model, str) else model.ref)

    def _run(self, template: str, parameters: Mapping[str, Any], *, resolved: Mapping[str, str]) -> "Report":
        """Run a report whose inputs are intact, and enter it into the ledger."""
        from ailab_kernel.reports import recorded

        self.check_inputs(resolved)
        return recorded(self.workspace, template, parameters, resolved=resolved)

    def _repr_html_(self) -> str:
        rows = {"home": self.home, "archive": self.workspace.archive_url, "models": len(self.models.all()),
                "datasets": len(self.datasets.all()), "reports": len(self.reports())}  # fmt: skip
        note = "" if self.workspace.catalog.roles_enforced else "<p>One-user pilot: roles are not enforced.</p>"
        cells = "".join(f"<tr><th>{key}</th><td>{html.escape(str(value))}</td></tr>" for key, value in rows.items())
        return f"<table>{cells}</table>{note}"


def open_lab(folder: Path | None = None, *, home: str | Path | None = None, archive: str | None = None) -> Lab:
    """Open the lab whose ``ailab.toml`` holds in ``folder`` (default: here); a pilot needs no settings.

    Parameters
    ----------
    folder
        Where to look for ``ailab.toml``, upwards.
    home, archive
        Beat the settings of those names.
    """
    return Lab(open_workspace(folder, home=home, archive=archive))


def run_job(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Do one queued report: ``{"home": ..., "verb": "validate", "arguments": {...}}``; called by the job worker."""
    verb = str(payload["verb"])
    if verb not in {"train", "validate"}:
        msg = f"job verb {verb!r}: train or validate is expected"
        raise WrongUse(msg)
    lab, arguments = open_lab(home=payload["home"]), dict(payload["arguments"])
    done = lab.train(arguments.pop("dataset"), **arguments).report if verb == "train" else lab.validate(**arguments)
    return {"report": done.id, "state": done.state}


def _login() -> str:
    """Whoever runs this."""
    from getpass import getuser

    return os.environ.get("JUPYTERHUB_USER") or getuser()


def _recipe(label: str, model: "Bundle | None") -> "Recipe":
    """The recipe is found from the model, else from the label's words."""
    from ailab_kernel.recipes.recipe import find

    return find(model.recipe if model else "-".join(label.lower().split()))
