"""The validation report of a detector and of a classifier, run for real: their figures, in HTML and on paper."""

import base64
import re

import pytest
import torch
from pypdf import PdfReader

from ailab_kernel.models import Models, build_network, read_bundle, write_bundle
from ailab_kernel.recipes import find
from ailab_kernel.recipes.classification import find_classification
from ailab_kernel.reports import recorded
from tests.validation.test_scoring import dataset, nodules, radiograph_study

pytestmark = pytest.mark.slow


def untrained(workspace, folder, recipe):
    """A model of a recipe that has learnt nothing: the report's job is to say so, not to fall over."""
    torch.manual_seed(4)
    network = (find_classification if recipe == "enlarged-heart" else find)(recipe).network
    write_bundle(folder, name="untrained", recipe=recipe, network=network, state_dict=build_network(network).state_dict(),
                 metadata={"version": "0.1.0", "intended_use": "None."})  # fmt: skip
    return Models(workspace.catalog).add(read_bundle(folder, name="untrained"))


def validated(workspace, bundle, data):
    parameters = {"model": bundle.ref, "dataset": data.ref, "baseline": bundle.ref}
    return recorded(workspace, "validate", parameters, resolved={"model": bundle.digest, "dataset": data.digest})


def pictures(report) -> int:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', report.html.read_text())
    assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in found)
    return len(found)


def test_a_detector_has_its_froc(workspace, tmp_path):
    data = dataset(workspace.catalog, "nodules", nodules(10, 11, 12))
    bundle = untrained(workspace, tmp_path / "b", "lung-lesions")
    report = validated(workspace, bundle, data)
    page, paper = report.html.read_text(), " ".join(one.extract_text() for one in PdfReader(report.pdf).pages)
    for text in (page, paper):
        assert "Scores and probabilities" in text
        assert "false positives per scan" in text
        assert "findings with scores, not with a mask" in " ".join(text.split())
        for mask_only in ("Bland-Altman", "Worst five cases", "Surface Dice", "The worst cases"):
            assert mask_only not in text
        assert "share of the lesions found" in " ".join(text.split())
    assert report.metrics["scores"][bundle.ref]["froc"]["scans"] == 3
    assert pictures(report) == 1, "FROC"
    assert report.metrics["cases"] == 3


def test_a_classifier_has_its_area_and_its_calibration(workspace, tmp_path):
    data = dataset(workspace.catalog, "hearts", [radiograph_study(seed) for seed in range(4)])
    bundle = untrained(workspace, tmp_path / "b", "enlarged-heart")
    report = validated(workspace, bundle, data)
    page = report.html.read_text()
    assert "Brier score" in page
    assert "AUC (95 % interval)" in page
    assert "Worst five cases" not in page
    assert "0.5 is a coin" in page
    assert set(report.metrics["scores"][bundle.ref]) == {"auc", "calibration"}
    assert pictures(report) == 1, "reliability"
    assert "No criteria were given: this report speaks for no alias." in page
