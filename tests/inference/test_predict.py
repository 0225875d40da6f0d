"""A model and a volume make a mask on the volume's own grid, the same every time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ailab_kernel.ground.errors import ModelChanged, NotFound
from ailab_kernel.inference import Predictor
from ailab_kernel.inference.predict import settle
from ailab_kernel.models import Bundle, read_bundle, write_bundle
from ailab_kernel.models.registry import base_bundle
from ailab_kernel.recipes import find, tidy
from ailab_kernel.training.transfer import start
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.volume import Volume


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    recipe = find("lungs")
    folder = write_bundle(tmp_path_factory.mktemp("bundle") / "odd", name="odd", recipe="lungs", network=recipe.network,
                          state_dict=start(recipe, None, seed=1).state_dict(), metadata={})  # fmt: skip
    return read_bundle(folder, name="odd")


def volume(seed: int = 0, *, spacing=(5.0, 3.5, 3.5), shape=(24, 60, 64)) -> Volume:
    """Two dark lungs in a body, with air around."""
    random = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    hu = np.full(shape, -1000.0)
    hu[np.broadcast_to((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1, shape)] = 40
    for side in (-0.4, 0.4):
        hu[((x - side) / 0.28) ** 2 + (y / 0.5) ** 2 + (z / 0.9) ** 2 < 1] = -850
    affine = np.array([[0, 0, spacing[2], 0], [0, spacing[1], 0, 0], [spacing[0], 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume((hu + random.normal(0, 15, shape)).astype(np.int16), Grid(shape, affine))


def agreement(a: Mask, b: Mask) -> float:
    return float((a.array == b.array).mean())


def test_mask_lies_on_the_source_grid_and_is_the_same_every_time(bundle, tmp_path):
    vol = volume()
    predictor = Predictor(bundle, cache=tmp_path)
    mask = predictor.predict(vol)
    assert mask.grid is vol.grid
    assert mask.array.shape == vol.array.shape
    assert mask.labels == find("lungs").labels
    assert set(np.unique(mask.array)) <= {0, 1}
    again = Predictor(bundle, cache=tmp_path)
    assert again.engine == predictor.engine
    assert again.predict(volume()).array.tobytes() == mask.array.tobytes()


def test_settled_logits_give_the_tidy_labels():
    recipe, random = find("heart-wall"), np.random.default_rng(2)
    answer = ndimage.gaussian_filter(random.normal(0, 1, (3, 20, 24, 28)), (0, 1.5, 1.5, 1.5)).astype(np.float32)
    grid = Grid((20, 24, 28), np.diag([3.0, 3, 3, 1]))
    expected = tidy(Mask(answer.argmax(0).astype(np.uint8), grid, recipe.labels), recipe.keep).array
    settled = settle(recipe, answer, grid)
    assert (expected != answer.argmax(0)).any()
    np.testing.assert_array_equal(settled.argmax(0), expected)
    np.testing.assert_array_equal(np.sort(settled, axis=0), np.sort(answer, axis=0))


def test_the_qualified_engine_labels_like_torch(bundle, tmp_path):
    fast, torch = Predictor(bundle, cache=tmp_path), Predictor(bundle, engine="torch")
    assert (torch.engine, torch.verdict) == ("torch", None)
    assert fast.verdict.engine == fast.engine
    assert agreement(fast.predict(volume()), torch.predict(volume())) > 0.999


def test_a_changed_weight_byte_is_named_before_anything_runs(bundle):
    def altered(path: str) -> bytes:
        data = bytearray(bundle._read(path))
        data[-1] ^= 1
        return bytes(data)

    with pytest.raises(ModelChanged, match=r"model odd@0: models/model\.safetensors"):
        Predictor(replace(bundle, _read=altered))


def test_a_bundle_without_a_recipe_here_is_refused(bundle):
    with pytest.raises(NotFound, match="no recipe 'spleen'"):
        Predictor(replace(bundle, body={**bundle.body, "recipe": "spleen"}))


def dice(mask: Mask, truth: np.ndarray) -> float:
    ours = mask.array > 0
    return 2 * (ours & truth).sum() / (ours.sum() + truth.sum())


@pytest.mark.slow
def test_base_lungs_on_a_real_patient(shared_data: Path, tmp_path):
    """79 real slices, seen by no training: Dice against the labels' low byte."""
    from ailab_kernel.volumes.series import volumes_from_folder

    found = volumes_from_folder(shared_data / "cip_chest" / "ct-64Dicom")
    mask = Predictor(base_bundle("lungs"), cache=tmp_path).predict(found.volumes[0])
    labels = (shared_data / "cip_chest" / "lm-64.nrrd").read_bytes()
    header, _, data = labels.partition(b"\n\n")
    if b"gzip" in header or b"gz" in header:
        import gzip

        data = gzip.decompress(data)
    truth = np.frombuffer(data, "<u2").reshape(79, 64, 64) & 255 > 0
    assert dice(mask, truth) >= 0.95


@pytest.mark.parametrize(("flip", "axes"), [((1, 1, 1), (0, 1, 2)), ((-1, 1, -1), (0, 1, 2)), ((1, -1, 1), (1, 0, 2)),
                                            ((1, 1, 1), (2, 0, 1))])  # fmt: skip
def test_any_orientation_gives_the_same_anatomy(flip, axes):
    """The same patient stored with other axes: the same lungs, voxel by voxel."""
    predictor, vol = Predictor(base_bundle("lungs"), engine="torch"), volume()
    view = vol.array.transpose(axes)[tuple(slice(None, None, f) for f in flip)]
    affine = vol.grid.affine.copy()
    columns = affine[:, list(axes)]
    origin = affine[:, 3] + sum(columns[:, i] * (view.shape[i] - 1) for i in range(3) if flip[i] < 0)
    turned = Volume(np.ascontiguousarray(view), Grid(view.shape, np.column_stack([columns * flip, origin])))
    expected = predictor.predict(vol).array.transpose(axes)[tuple(slice(None, None, f) for f in flip)]
    assert (predictor.predict(turned).array == expected).mean() > 0.9999
    assert (expected > 0).sum() > 1000
