"""The pack as a file: a page, what it rests on, a list that the lab signs, and a program that checks all of it."""

import json
import os
import secrets
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import ReportError
from ailab_kernel.ground.ids import sha256
from ailab_kernel.ground.seal import fingerprint
from ailab_kernel.ground.store import sync_folder
from ailab_kernel.models.card import card
from ailab_kernel.privacy.exits import check
from ailab_kernel.privacy.readable import chunks
from ailab_kernel.reports.report import MANIFEST, SEAL, sealed_files

from . import verify
from .collecting import Gathered, collect
from .page import first_page

if TYPE_CHECKING:
    from ailab_kernel.workspace import Workspace

KIND, FORMAT = "ailab-evidence-pack", 1


def write_evidence(workspace: "Workspace", ref: str, out: Path, *, release: str = "") -> Path:
    """Write everything that the lab knows of a model into one zip and return its path.

    Parameters
    ----------
    workspace
        The lab.
    ref
        ``heart-wall@champion``.
    out
        A new ``.zip``.
    release
        Why it may leave although something in it holds what identifies a patient; by role, and written down.

    Raises
    ------
    ReportError
        ``out`` is there already.
    ExitBlocked
        Something in it identifies a patient, and no reason was given.
    """
    if out.exists():
        msg = f"{out.name} is there already; give a new file"
        raise ReportError(msg)
    found, catalog = collect(workspace, ref), workspace.catalog
    key, lab = catalog.public_key(), workspace.settings.lab_name
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    files = _files(found)
    files["index.html"] = first_page(found, lab=lab, fingerprint=fingerprint(key), made_at=made_at).encode()
    check(catalog, (one for name, data in files.items() for one in chunks(data, name)), what=f"evidence of {found.ref}",
          reason=release)  # fmt: skip
    files["verify.py"] = Path(verify.__file__).read_bytes()
    told = {"kind": KIND, "format": FORMAT, "lab": lab, "key": key, "made_at": made_at,
            "models": [{"name": found.bundle.name, "version": found.bundle.version, "digest": found.bundle.digest}],
            "files": {name: sha256(data) for name, data in sorted(files.items())}}  # fmt: skip
    files[verify.PACK] = _json(told)
    files[verify.SIGNATURE] = catalog.sign(files[verify.PACK]).encode() + b"\n"
    catalog.audit("export", kind="evidence", model=found.ref, digest=found.bundle.digest)
    return _zipped(out, f"evidence-{found.bundle.name}-{found.bundle.version}", files)


def _files(found: Gathered) -> dict[str, bytes]:
    bundle = found.bundle
    readme = bundle.file("docs/README.md") if "docs/README.md" in bundle.body["files"] else b""
    return {
        "card.md": readme or card({"name": bundle.name, **bundle.metadata}).encode(),
        "model.json": _json({"ref": bundle.ref, "digest": bundle.digest, "parents": list(bundle.parents),
                             "body": dict(bundle.body)}),
        "inventory.json": _json(dict(found.inventory)), "acceptance.json": _json(list(found.acceptance)),
        "criteria.json": _json(list(found.criteria)), "monitoring.json": _json(
            {"monitoring": list(found.monitoring), "use": list(found.use)}),
        "aliases.json": _json({"history": list(found.history), "approvals": list(found.approvals)}),
        "lineage.json": _json(list(found.made_from)), "replays.json": _json(list(found.replays)),
        "audit.json": _json({"said": found.trail_said, "lines": list(found.trail)}),
        **{f"reports/{report.id}/{name}": (report.folder / name).read_bytes() for report in found.reports
           for name in (MANIFEST, SEAL, *sealed_files(report.folder))},
    }  # fmt: skip


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, default=str) + "\n").encode()


def _zipped(out: Path, folder: str, files: dict[str, bytes]) -> Path:
    """Write the zip beside its place and move it there when it is whole."""
    draft = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
                for name, data in sorted(files.items()):
                    made.writestr(f"{folder}/{name}", data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(out)
        sync_folder(out.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        msg = f"{out.name} cannot be written ({error.strerror}); check the folder, its rights and space"
        raise ReportError(msg) from None
    return out
