"""The exits: a known identifier is found in every format, its place is told, and it stays here."""

import base64
import gzip
import io
import json
import logging
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ailab_kernel.ground.errors import CatalogError, ExitBlocked, WrongUse
from ailab_kernel.privacy.exits import Redacting, check_files, known_of, learn, redacted, search_files
from tests.privacy.objects import ct, file_of
from tests.service.conftest import house  # noqa: F401 - a fixture
from tests.service.serving import MANIFEST

NAME = "Quixano"


@pytest.fixture
def catalog(workspace):
    learn(workspace.catalog, file_of(ct()))
    return workspace.catalog


def zipped(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def book(**cell: object) -> bytes:
    plain = {"cell_type": "code", "source": "1", "metadata": {}, "outputs": [], "execution_count": 1}
    return json.dumps({"cells": [plain, plain | cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def shown(**data: object) -> bytes:
    return book(outputs=[{"output_type": "display_data", "data": data, "metadata": {}}])


def png(text: str) -> bytes:
    file, said = io.BytesIO(), PngImagePlugin.PngInfo()
    said.add_text("Comment", text)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(file, "PNG", pnginfo=said)
    return file.getvalue()


def pdf(text: str) -> bytes:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    file, figure = io.BytesIO(), Figure()
    FigureCanvasPdf(figure)
    figure.text(0.1, 0.5, f"Report of {text}, page 1")
    figure.savefig(file, format="pdf")
    return file.getvalue()


def nifti() -> bytes:
    head = bytearray(352)
    head[:4], head[108:112], head[344:348] = (348).to_bytes(4, "little"), np.float32(352).tobytes(), b"n+1\0"
    head[148:155] = NAME.encode()
    return gzip.compress(bytes(head) + b"\0" * 1000)


def tensors() -> bytes:
    head = json.dumps({"__metadata__": {"trained_on": f"study of {NAME}"}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(range(256))


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": ["\x1b[31mQui\x1b[0mxano is odd"]}
PLANTED = {
    "a.txt": (b"first\nsecond\nof Quixano", "PatientName in a.txt, line 3"),
    "latin.txt": ("für Quixano é".encode("latin-1"), "PatientName in latin.txt"),
    "wide.txt": ("of Quixano".encode("utf-16"), "PatientName in wide.txt"),
    "page.html": (b"<p title='Qui&#120;ano'>x</p>", "PatientName in page.html"),
    "split.html": (b"<p><b>Qui</b>xano</p>", "PatientName in split.html"),
    "link.md": (b"[x](http://pacs/?name=Qu%69xano)", "PatientName in link.md"),
    "figure.html": (b"<img src='data:image/png;base64," + base64.b64encode(png(NAME)) + b"'>",
                    "PatientName in figure.html, embedded file 1"),
    "metrics.json": (b'{"a": [1, {"b": "x\\nQuixan\\u006f"}]}', "PatientName in metrics.json, value"),
    "key.json": (b'{"Quixano": 1}', "PatientName in key.json"),
    "log.jsonl": (b'{"a": 1}\n{"b": "quixano"}\n', "PatientName in log.jsonl, line 2"),
    "source.ipynb": (book(source=["a\n", "# Quixano"]), "PatientName in source.ipynb, cell 2, line 2"),
    "stream.ipynb": (book(outputs=[{"output_type": "stream", "name": "stdout", "text": ["of ", NAME]}]),
                     "PatientName in stream.ipynb, cell 2, output"),
    "error.ipynb": (book(outputs=[ERROR]), "PatientName in error.ipynb, cell 2, output"),
    "html.ipynb": (shown(**{"text/html": ["<td>Quix", "ano</td>"]}), "PatientName in html.ipynb, cell 2, output"),
    "tree.ipynb": (shown(**{"application/json": {"who": NAME}}), "PatientName in tree.ipynb, cell 2, output"),
    "png.ipynb": (shown(**{"image/png": base64.b64encode(png(NAME)).decode()}), "PatientName in png.ipynb, cell 2, output"),
    "tag.ipynb": (book(metadata={"tags": [NAME]}), "PatientName in tag.ipynb, cell 2, metadata"),
    "papermill.ipynb": (json.dumps({"cells": [], "metadata": {"papermill": {"parameters": {"who": NAME}}}}).encode(),
                        "PatientName in papermill.ipynb, metadata"),
    "a.pdf": (pdf(NAME), "PatientName in a.pdf, page 1"),
    "a.png": (png(NAME), "PatientName in a.png"),
    "cut.dcm": (file_of(ct())[:300], "PatientName in cut.dcm, preamble"),
    "a.dcm": (file_of(ct()), "PatientID in a.dcm, (0010,0020)"),
    "a.nii.gz": (nifti(), "PatientName in a.nii.gz"),
    "model.safetensors": (tensors(), "PatientName in model.safetensors"),
    "bundle.zip": (zipped("configs/metadata.json", b'{"data": "quixano"}'), "PatientName in bundle.zip, member 1"),
    "named.zip": (zipped("quixano.txt", b"x"), "PatientName in named.zip, member 1, its name"),
    "deep.zip": (zipped("in.zip", zipped("a.txt", b"quixano")), "PatientName in deep.zip, member 1, member 1"),
    "a.tar.gz": (tarred("x.txt", b"quixano"), "PatientName in a.tar.gz, member 1"),
    "data.bin": (b"\0\1\2" + "name=Quixano;".encode("utf-16-le") + b"\0\xff", "PatientName in data.bin"),
    "date.csv": (b"born\n23.09.1928\n", "PatientBirthDate in date.csv, line 2"),
    "id.csv": (b"id;MRN 4711-77\n", "PatientID in id.csv"),
    "accession.log": (b"order ACC778899 done", "AccessionNumber in accession.log"),
    "doctor.txt": (b"ordered by Sanson Carrasco", "ReferringPhysicianName in doctor.txt"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_it_is_found_in_every_format(catalog, tmp_path, name):
    data, place = PLANTED[name]
    (tmp_path / name).write_bytes(data)
    places = search_files(catalog, [tmp_path / name])
    assert any(one.startswith(place) for one in places), places
    assert NAME.lower() not in str(places).lower()


def test_what_names_nobody_passes(catalog, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name, data in {"a.txt": b"of somebody", "b.ipynb": book(), "c.pdf": pdf("nobody"), "d.png": png("x"),
                       "e.zip": zipped("a", b"b"), "f.json": b"{}", "g": b"", "h.bin": bytes(range(256))}.items():  # fmt: skip
        (folder / name).write_bytes(data)
    assert check_files(catalog, [folder], what="a folder") == ()


def test_a_files_name_is_not_told(catalog, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "Quixano_Alonso.txt").write_text("a\nquixano")
    (folder / "a.txt").write_text("x")
    with pytest.raises(ExitBlocked) as caught:
        check_files(catalog, [folder], what="2 files")
    assert "PatientName in the name of file 1 of 2; PatientName in file 1 of 2, line 2" in str(caught.value)
    assert "uixano" not in str(caught.value) + str(catalog.audit_trail())
    assert catalog.audit_trail()[-1]["event"] == "exit-blocked"


def test_who_has_a_reason_lets_it_out_and_it_stands_in_the_trail(catalog, tmp_path):
    (tmp_path / "a.txt").write_text("quixano")
    assert check_files(catalog, [tmp_path / "a.txt"], what="a letter", reason="consent of 3 May") == ("PatientName in a.txt",)
    last = catalog.audit_trail()[-1]
    assert (last["event"], json.loads(last["detail"])) == (
        "exit-released", {"places": "a letter: PatientName in a.txt", "reason": "consent of 3 May"})
    with pytest.raises(ExitBlocked, match="the reason itself"):
        check_files(catalog, [tmp_path / "a.txt"], what="a letter", reason="Quixano agreed")


@pytest.mark.parametrize(("name", "data"), [("a.pdf", b"%PDF-1.7 broken"), ("a.zip", b"PK\x03\x04 broken"), ("a.gz", b"\x1f\x8bxx"),
                                            ("a.dcm", b"\0" * 128 + b"DICM\x02\0\0\0UL"), ("a.ipynb", b"{")])  # fmt: skip
def test_what_cannot_be_read_stays(catalog, tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ExitBlocked, match="cannot be read"):
        check_files(catalog, [tmp_path / name], what="a file")
    with pytest.raises(WrongUse):
        check_files(catalog, [tmp_path / "none"], what="a file")


def test_a_large_text_is_searched_in_pieces(catalog, tmp_path):
    text = "x" * (1 << 20)
    (tmp_path / "a.txt").write_text(text[:-9] + " Alonso Quixano " + text + " Quixano")
    assert [one[-6:] for one in search_files(catalog, [tmp_path / "a.txt"])] == ["part 1", "part 2", "part 3"]


def test_bombs_are_refused(catalog, tmp_path):
    data = b"x"
    for _ in range(6):
        data = zipped("in.zip", data)
    (tmp_path / "deep.zip").write_bytes(data)
    with pytest.raises(ExitBlocked, match="unpacks to more"):
        check_files(catalog, [tmp_path / "deep.zip"], what="a file")


def test_logs_and_tracebacks_are_redacted(catalog):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.addFilter(Redacting(catalog))
    log = logging.getLogger("tests.exits")
    log.addHandler(handler)
    try:
        raise ValueError("Quixano^Alonso, born 19280923")
    except ValueError:
        log.exception("study of %s failed", "MRN-4711-77")
    finally:
        log.removeHandler(handler)
    told = lines.getvalue()
    assert "study of [removed] failed" in told
    assert "Traceback" in told
    assert not any(value in told for value in ("Quixano", "Alonso", "4711", "1928"))
    assert redacted(catalog, "Alonso Quixano and nobody") == "[removed] and nobody"


def test_objects_without_their_patient_teach_nothing(workspace):
    ds = ct(PatientIdentityRemoved="YES")
    assert known_of(ds) == {}
    learn(workspace.catalog, file_of(ds))
    learn(workspace.catalog, b"no dicom")
    assert workspace.catalog.found(["Quixano"]) == []


def test_behind_the_hub_only_some_let_it_out(house, monkeypatch, tmp_path):  # noqa: F811
    from tests.ground.test_remote_catalog import seen_by

    scientist = seen_by("data-scientist", house, monkeypatch, tmp_path)
    scientist.remember({"PatientName": ["Quixano^Alonso"]})
    (tmp_path / "a.txt").write_text("x\n" * 1000 + "quixano")
    with pytest.raises(ExitBlocked, match="line 1001"):
        check_files(scientist, [tmp_path / "a.txt"], what="a file")
    with pytest.raises(CatalogError, match="release-identifier is not for data-scientist"):
        check_files(scientist, [tmp_path / "a.txt"], what="a file", reason="because")
    told = {**json.loads(MANIFEST), "parameters": {"who": "Alonso"}}
    with pytest.raises(ExitBlocked, match="PatientName in manifest, value"):
        scientist.sign(json.dumps(told).encode())
    admin = seen_by("admin", house, monkeypatch, tmp_path)
    assert check_files(admin, [tmp_path / "a.txt"], what="a file", reason="because")
    events = [(row["by"], row["event"]) for row in house.desk.realms.lab.audit_trail()]
    assert ("data-scientist", "service.identifier-met") in events
    assert events[-1] == ("admin", "exit-released")
    assert seen_by("student", house, monkeypatch, tmp_path).found(["quixano"]) == [], "a sandbox is no oracle"


def test_a_saved_notebook_is_marked_and_an_export_refused(catalog, monkeypatch):
    from jupyter_server.services.contents.largefilemanager import LargeFileManager
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    from ailab_kernel.reports.jupyter import saving

    saving.catalog.cache_clear()
    manager = LargeFileManager(root_dir=str(Path.cwd()), pre_save_hook="ailab_kernel.reports.jupyter.saving.mark")
    content = json.loads(book(outputs=[{"output_type": "stream", "name": "stdout", "text": "Quixano"}]))
    for cell in content["cells"]:
        cell["id"] = f"c{id(cell)}"
    manager.save({"type": "notebook", "format": "json", "content": content}, "a.ipynb")
    saved = manager.get("a.ipynb")["content"]
    told = saved["metadata"]["ailab"]
    assert (told["shareable"], told["identifiers"][0][:44]) == (False, "PatientName in this notebook, cell 2, output")
    exporter = HTMLExporter(config=Config(Exporter={"preprocessors": ["ailab_kernel.reports.jupyter.saving.Guarded"]}))
    with pytest.raises(ExitBlocked, match="cell 2"):
        exporter.from_notebook_node(saved)
    saved["cells"][1]["outputs"] = []
    manager.save({"type": "notebook", "format": "json", "content": saved}, "a.ipynb")
    clean = manager.get("a.ipynb")["content"]
    assert "ailab" not in clean["metadata"]
    assert "<html" in exporter.from_notebook_node(clean)[0]
    saving.catalog.cache_clear()
