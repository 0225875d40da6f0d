"""All of the lab through a real service process: the main job in small, and a kernel that holds nothing."""

import os

import pytest

from ailab_kernel.datasets.phantom_dicom import to_dicom
from ailab_kernel.datasets.phantoms import make, random_phantom
from ailab_kernel.datasets.styles import STYLES
from ailab_kernel.ground.errors import ArchiveRefused, CatalogError, ModelError, SealBroken
from ailab_kernel.lab import Lab, open_lab
from ailab_kernel.models.registry import base_names
from tests.service.serving import MANIFEST, House, bare, process, token

pytestmark = pytest.mark.slow
SIZE, SPACING = (36, 80, 80), (8.0, 4.4, 4.4)
COUNTS = {"annotate": 5, "validate": 2, "infer": 1}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with process(tmp_path_factory.mktemp("service"), "lee/data-scientist", "ray/radiologist") as running:
        yield running


@pytest.fixture
def opened(house, monkeypatch, tmp_path_factory):
    folders = {}

    def _open(person: str) -> Lab:
        for name in set(os.environ) - set(bare()):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AILAB_SERVICE", house.url)
        monkeypatch.setenv("AILAB_SERVICE_TOKEN", token(person))
        folder = folders.setdefault(person, tmp_path_factory.mktemp(person))
        return open_lab(folder, home=folder / "lab")

    return _open


def fill(lab: Lab, first: int, count: int, *, truth: bool) -> list[str]:
    uids = []
    for seed in range(first, first + count):
        study = make(random_phantom(seed, style=STYLES["general-hospital"], size=SIZE, spacing_mm=SPACING))
        instances, seg = to_dicom(study)
        lab.archive.store([*instances, *([seg] if truth else [])])
        uids.append(study.volume.study_uid)
    return uids


def trail(house: House) -> list[tuple[str, str]]:
    return [(row["by"], row["event"]) for row in house.ask("auditor", "GET", "catalog/audit").json()]


def test_the_main_job_through_the_service(opened, house):
    lab = opened("lee")
    studies = {name: fill(lab, 610_000 + 100 * n, count, truth=name != "infer")
               for n, (name, count) in enumerate(COUNTS.items())}  # fmt: skip
    task = lab.annotate(lab.archive.search(study=studies["annotate"]), label="heart wall",
                        assist="heart-wall@general", reader="simulated")  # fmt: skip
    data = lab.datasets.freeze("heart-wall", task.accepted(), split=(0.8, 0.2, 0.0))
    run = lab.train(data.ref, base="heart-wall@general", epochs=1)
    task = lab.annotate(lab.archive.search(study=studies["validate"]), label="heart wall", reader="reference")
    check = lab.datasets.freeze("heart-wall-check", task.accepted(), split=(0.0, 0.0, 1.0))
    report = lab.validate(model=run.model, dataset=check.ref)
    assert lab.verify(report.id) == ()
    assert report.metrics["verdict"] == "refused", "two patients are too few for the product's own criteria"
    with pytest.raises(ModelError, match=r"did not pass its gate: mean Dice of heart-wall .*2 patients, at least 20"):
        lab.models.promote(run.model, "champion", evidence=report)
    told = {"kind": "criteria", "name": "heart-wall", "body": {"toml": "dataset = 'heart-wall-check@1'"}}
    assert house.ask("admin", "POST", "catalog/records", json=told).status_code == 200
    with pytest.raises(ModelError, match="not judged by the criteria in force"):
        lab.models.promote(run.model, "champion", evidence=report)
    report = lab.validate(model=run.model, dataset=check.ref)
    lab.models.promote(run.model, "champion", evidence=report)
    assert lab.models.get("heart-wall@champion").digest == run.model.digest
    done = lab.infer(model="heart-wall@champion", studies=lab.archive.search(study=studies["infer"]))
    assert sorted(one.modality for study in lab.archive.search(study=studies["infer"]) for one in study.series) == [
        "CT", "SEG", "SR"]
    again = lab.replay(report)
    assert again.identical, again.differences
    assert lab.replay(done).identical
    assert {record.made_by for kind in ("report", "dataset", "image") for record in lab.workspace.catalog.query(kind)} == {"lee"}
    assert lab.workspace.catalog.history("model", "heart-wall")[-1].moved_by == "lee"
    assert "roles are not enforced" not in lab._repr_html_()
    assert not {"keys", "catalog.sqlite", "archive"} & {one.name for one in lab.home.iterdir()}
    assert {("lee", event) for event in ("service.signed", "service.pseudonym", "intake", "alias-moved",
                                         "service.archive-store", "service.archive-retrieve")} <= set(trail(house))  # fmt: skip


def test_a_radiologist_annotates_and_promotes_nothing(opened, house):
    lab = opened("ray")
    study, = fill(lab, 620_000, 1, truth=True)
    task = lab.annotate(lab.archive.search(study=study), label="heart wall", assist="heart-wall@general",
                        reader="simulated")  # fmt: skip
    assert {task.state(uid) for uid in task.series_uids} == {"accepted"}
    model = lab.models.get("heart-wall@general")
    with pytest.raises(CatalogError, match="move-alias is not for radiologist"):
        lab.workspace.catalog.point("model", "heart-wall", "champion", digest=model.digest)
    assert ("ray", "service.refused") in trail(house)


def test_a_students_kernel_opens_nothing(opened, house):
    lab = opened("student")
    assert lab.models.get("heart-wall@general").name == "heart-wall", "the product's own are in every sandbox"
    assert [one.ref for one in lab.models.all()] == [f"{name}@1" for name in base_names()]
    assert len(lab.datasets.all()) == 0
    before = trail(house)
    with pytest.raises(ArchiveRefused):
        lab.archive.search()
    for act in (lambda: lab.workspace.catalog.sign(MANIFEST),
                lambda: lab.workspace.catalog.pseudonym("patient", "P1"),
                lambda: lab.models.promote("heart-wall@1", "champion", evidence=Forged(lab)),
                lambda: lab.workspace.catalog.point("model", "heart-wall", "champion", digest="0" * 64)):  # fmt: skip
        with pytest.raises((CatalogError, SealBroken)):
            act()
    assert trail(house)[len(before):].count(("student", "service.refused")) >= 4


class Forged:
    """Evidence that signs itself."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def evidence(self):
        from ailab_kernel.models.evidence import Evidence

        return Evidence(id="forged", manifest=MANIFEST, signature=self._lab.workspace.catalog.sign(MANIFEST))
