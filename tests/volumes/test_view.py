"""What a viewer is given, and which viewers there are: places, values and labels stay what they are."""

import gzip
import json
import sys
from types import ModuleType, SimpleNamespace

import nibabel
import numpy as np
import pytest
import traitlets

from ailab_kernel.datasets.canary import make_canary
from ailab_kernel.ground.errors import MissingExtra, WrongUse
from ailab_kernel.volumes.geometry import Grid
from ailab_kernel.volumes.masks import Mask
from ailab_kernel.volumes.view import scene
from ailab_kernel.volumes.view.engines import itk
from ailab_kernel.volumes.view.scene import packed, scene_of
from ailab_kernel.volumes.volume import Volume

GRID = Grid((4, 6, 8), np.diag([3.0, 1.0, 0.5, 1.0]))


def volume(array, **more) -> Volume:
    return Volume(np.resize(np.asarray(array), GRID.shape), GRID, **more)


def shown(vol: Volume) -> np.ndarray:
    given = scene_of(vol, None).volume
    assert given.array.dtype == np.int16
    return given.array.astype(float) * given.slope + given.intercept


@pytest.mark.parametrize("vol", [
    volume(np.arange(-1000, 3000, 7, dtype=np.int16)), volume(np.arange(0, 4096, 9, dtype=np.uint16), intercept=-1024.0),
    volume(np.arange(0, 60000, 300, dtype=np.uint16), intercept=-30000.0), volume(np.arange(250, dtype=np.uint8), slope=2.0),
    volume(np.array([True, False])), volume(np.arange(0, 900, 3, dtype=np.int16), slope=0.37, intercept=1.5),
], ids=["CT", "CT, unsigned", "unsigned, far", "doubled", "yes or no", "PET, one scale"])  # fmt: skip
def test_whole_values_are_shown_as_they_are(vol):
    np.testing.assert_allclose(shown(vol), vol.values, rtol=1e-6)


@pytest.mark.parametrize("vol", [
    volume(np.linspace(-3.5, 1e6, 192)), volume(np.arange(0, 60000, 300, dtype=np.uint16), slope=1000.0),
    volume(np.arange(192, dtype=np.int16), slope=np.array([0.1, 7, 0.3, 2], np.float32).reshape(4, 1, 1)), volume([7.25]),
], ids=["floats", "large", "a scale for each slice", "all the same"])  # fmt: skip
def test_other_values_are_shown_to_a_65535th_of_their_range(vol):
    step = float(np.ptp(vol.values)) / 65535 or 1e-6
    assert np.abs(shown(vol) - vol.values).max() <= step * 0.51


def test_what_is_no_number_is_shown_as_nothing():
    values = shown(volume([np.nan, 5.0, -np.inf, 9.0]))
    assert np.isfinite(values).all()
    assert values.max() == pytest.approx(9.0)


def test_more_than_a_browser_holds_is_thinned_out_along_the_finest_axes_and_told(monkeypatch):
    monkeypatch.setattr(scene, "MOST_VOXELS", 50)
    array = np.arange(192, dtype=np.int16).reshape(GRID.shape)
    given = scene_of(Volume(array, GRID), Mask((array % 3).astype(np.uint8), GRID))
    assert given.grid.shape == (4, 3, 4)
    assert given.note == "Shown with 4 × 3 × 4 of 4 × 6 × 8 voxels, which are more than a browser holds."
    np.testing.assert_array_equal(given.volume.array, array[:, ::2, ::2])
    for index in np.ndindex(given.grid.shape):
        place = given.grid.affine @ [*index, 1]
        np.testing.assert_allclose(place, GRID.affine @ [index[0], 2 * index[1], 2 * index[2], 1])
        assert given.mask.array[index] == given.volume.array[index] % 3


def test_a_place_is_told_by_sides_voxel_value_and_label():
    canary = make_canary()
    given = scene_of(canary.volume, canary.mask)
    for index in ((3, 6, 9), (6, 8, 20), (0, 0, 0)):
        place = canary.volume.grid.affine @ [*index, 1]
        told = given.told_at(place[:3])
        assert f"slice {index[0]}, row {index[1]}, column {index[2]} · {canary.volume.array[index]} HU" in told
        assert told.endswith("canary") == bool(canary.mask.array[index])
        assert told.startswith(f"R {-place[0]:.1f}, P {place[1]:.1f}, F {-place[2]:.1f} mm")
    assert given.told_at(np.zeros(3)) == "L 0.0, P 0.0, H 0.0 mm: outside"


def test_niivue_gets_files_that_another_reader_places_alike(tmp_path):
    canary = make_canary()
    view = canary.volume.view(canary.mask)
    for part, wanted in zip(view.widget.volumes, (canary.volume.values, canary.mask.array), strict=True):
        (tmp_path / part.name).write_bytes(part.data)
        image = nibabel.load(tmp_path / part.name)
        values = np.asarray(image.dataobj)
        index = np.argwhere(np.isfinite(values))
        lps = (image.affine @ np.c_[index, np.ones(len(index))].T)[:3].T * [-1, -1, 1]
        voxel = np.rint(np.linalg.solve(canary.volume.grid.affine, np.c_[lps, np.ones(len(lps))].T)[:3].T).astype(int)
        np.testing.assert_array_equal(values[tuple(index.T)], wanted[tuple(voxel.T)])
    lut = view.widget.volumes[1].colormap_label
    assert (lut.lut, lut.labels) == ([0, 0, 0, 0, 250, 200, 0, 255], ["", "canary"])


def test_the_page_need_not_send_voxels_back():
    part = make_canary().volume.view().widget.volumes[0]
    assert part.get_state()["voxels_stay"] is True
    part.set_state({"chunk_img_0": {"chunk_index": 0, "total_chunks": 1, "data_type": "int16", "chunk": memoryview(b"1234")}})
    assert part.img is None


def test_two_views_move_together():
    canary = make_canary()
    one, other = canary.volume.view().widget, canary.mask.view().widget
    one.broadcast_to([other], {"crosshair": True})
    assert one.other_nv == [other]
    for nobody in (one, canary):
        with pytest.raises(traitlets.TraitError, match=r"give view\.widget of another view"):
            one.other_nv = [nobody]


def test_a_saved_notebook_keeps_the_picture_and_one_without_widgets_shows_it():
    canary = make_canary()
    view = canary.mask.view(canary.volume)
    bundle = view._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= bundle.keys()
    assert "data:image/png;base64," in bundle["text/html"]
    assert bundle["text/plain"] == "View(niivue)"


def test_itk_is_given_the_array_and_its_own_world():
    canary = make_canary()
    given = scene_of(canary.volume, canary.mask)
    told = json.loads(json.dumps(itk._told(given)))
    i, j, k = 9, 6, 3
    direction = np.array(told["direction"]).reshape(3, 3)
    place = np.array(told["origin"]) + direction @ (np.array(told["spacing"]) * [i, j, k])
    np.testing.assert_allclose(place, (canary.volume.grid.affine @ [k, j, i, 1])[:3])
    flat = np.frombuffer(gzip.decompress(packed(given.volume.array)), np.int16)
    assert flat[i + told["size"][0] * (j + told["size"][1] * k)] == canary.volume.array[k, j, i]
    assert told["labels"] == [{"value": 1, "name": "canary", "color": [250, 200, 0]}]


def test_itk_says_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(itk, "jupyter_path", lambda *_: [str(tmp_path)])
    with pytest.raises(MissingExtra, match=r"'itk' is not installed here; run: make .venv/itk-ready"):
        make_canary().volume.view(engine="itk")


def test_itkwidgets_says_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "itkwidgets", None)
    with pytest.raises(MissingExtra, match="needs a network in the browser"):
        make_canary().volume.view(engine="itkwidgets")


def stand_in(monkeypatch, view) -> None:
    """The package cannot live in this environment (decision 0026): what is used of it stands in for it."""
    wasm, package = ModuleType("itkwasm"), ModuleType("itkwidgets")
    wasm.ImageType, wasm.Image, package.view = SimpleNamespace, SimpleNamespace, view
    monkeypatch.setitem(sys.modules, "itkwasm", wasm)
    monkeypatch.setitem(sys.modules, "itkwidgets", package)


def test_itkwidgets_is_handed_images_with_their_place(monkeypatch):
    asked = {}
    stand_in(monkeypatch, lambda image, **more: asked.update(image=image, **more) or SimpleNamespace())
    canary = make_canary()
    view = canary.volume.view(canary.mask, engine="itkwidgets")
    assert view._repr_mimebundle_().keys() == {"text/html", "text/plain"}, "the real one shows itself, and has no such method"
    image, labels = asked["image"], asked["label_image"]
    assert (image.imageType.componentType, labels.imageType.componentType, image.size) == ("float32", "uint8", [36, 26, 10])
    place = np.array(image.origin) + image.direction @ (np.array(image.spacing) * [9, 6, 3])
    np.testing.assert_allclose(place, (canary.volume.grid.affine @ [3, 6, 9, 1])[:3])


def test_an_itkwidgets_that_does_not_open_is_one_line(monkeypatch):
    def view(image, **more):
        raise TypeError("ngff-zarr writes to local directory paths; got MemoryStore. Pass a str.")

    stand_in(monkeypatch, view)
    with pytest.raises(MissingExtra) as told:
        make_canary().volume.view(engine="itkwidgets")
    assert "does not open here (ngff-zarr writes to local directory paths; got MemoryStore);" in str(told.value)
    assert "pip install 'ailab-kernel[itkwidgets]'" in str(told.value)
    assert "\n" not in str(told.value)


def test_an_unknown_viewer_is_one_line_with_the_names():
    with pytest.raises(WrongUse, match=r"^engine 'slicer': niivue, itk, itkwidgets are the viewers; choose one of them$"):
        make_canary().volume.view(engine="slicer")


def test_one_slice_is_shown_as_the_plane_it_is():
    flat = Volume(np.zeros((1, 6, 8), np.int16), Grid((1, 6, 8), np.diag([3.0, 1.0, 0.5, 1.0])[[1, 0, 2, 3]]))
    assert flat.view().widget.opts.slice_type.name == "CORONAL"
