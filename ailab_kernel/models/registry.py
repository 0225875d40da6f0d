"""Models by name: import, versions, aliases with history, export."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ailab_kernel.ground.catalog import Catalog, Move, Record
from ailab_kernel.ground.errors import ModelError, NotFound
from ailab_kernel.ground.ids import Ref, check_name
from ailab_kernel.privacy.exits import check
from ailab_kernel.privacy.readable import Chunk, chunks

from .bundle import KIND, Bundle, Bundles, read_bundle
from .evidence import HasEvidence, check_evidence, keep_evidence
from .trust import unzip

_BASE = Path(__file__).parent / "base"
GENERAL = "general"


def base_names() -> list[str]:
    """Names of the base models that come with the product."""
    return sorted(folder.name for folder in _BASE.iterdir() if folder.is_dir()) if _BASE.is_dir() else []


def base_bundle(name: str) -> Bundle:
    """Return a base model that comes with the product, without any lab."""
    if name not in base_names():
        msg = f"there is no base model {name!r}; there are {', '.join(base_names()) or 'none'}"
        raise NotFound(msg)
    return read_bundle(_BASE / name, name=name)


class Models:
    """The lab's models, a view on its catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def add(self, bundle: Bundle, *, parents: tuple[str, ...] = ()) -> Bundle:
        """Keep a bundle that was made here and return it with its version; the same content is kept once.

        Raises
        ------
        ExitBlocked
            Its metadata, card or weights' names hold what identifies a patient: models travel.
        """
        check(self._catalog, _texts(bundle), what="the new model")
        return self._keep(bundle, parents)

    def _keep(self, bundle: Bundle, parents: tuple[str, ...] = ()) -> Bundle:
        for path, digest in bundle.body["files"].items():
            if self._catalog.put(bundle.file(path)) != digest:
                msg = f"bundle {bundle.name}: {path} changed while it was being kept"
                raise ModelError(msg)
        return self._bundle(self._catalog.append(KIND, bundle.body, name=bundle.name, parents=parents))

    def import_bundle(self, source: str | Path, *, name: str = "") -> Bundle:
        """Keep a MONAI bundle from a folder or zip file and return it; nothing in it is run.

        Raises
        ------
        ModelError, UnsafeModel
            Not a bundle, or one that would need code of its own.
        """
        path = Path(source)
        with tempfile.TemporaryDirectory() as scratch:
            folder = unzip(path, Path(scratch)) if path.is_file() else path
            bundle = self._keep(read_bundle(folder, name=name))
        self._catalog.audit("import", kind=KIND, model=bundle.ref, digest=bundle.digest)
        return bundle

    def get(self, ref: str) -> Bundle:
        """Return the model that ``name``, ``name@3`` or ``name@alias`` means.

        A base model of the product joins the lab when its ``@general`` is first asked for.
        """
        wished = Ref.parse(ref)
        self._welcome_base(wished)
        if wished.alias:
            return self._bundle(self._catalog.resolve(KIND, wished.name, wished.alias))
        found = self._catalog.query(KIND, name=wished.name, version=wished.version)
        if not found:
            known = sorted({record.name for record in self._catalog.query(KIND)} | set(base_names()))
            msg = f"there is no model {ref}; known here: {', '.join(known) or 'none'} (ailab models list)"
            raise NotFound(msg)
        return self._bundle(found[-1])

    def find(self, digest: str) -> Bundle:
        """Return the model whose record has this digest."""
        found = self._catalog.query(KIND, digest=digest)
        if not found:
            msg = f"there is no model with digest {digest[:12]}"
            raise NotFound(msg)
        return self._bundle(found[0])

    def all(self) -> Bundles:
        """Return every model of the lab, oldest first."""
        return Bundles(self._bundle(record) for record in self._catalog.query(KIND))

    def aliases(self, name: str) -> dict[str, str]:
        """Return what each alias of ``name`` means now: alias to digest."""
        return {move.alias: move.digest for move in self.history(name)}

    def history(self, name: str) -> list[Move]:
        """Return every move of every alias of ``name``, oldest first."""
        return self._catalog.history(KIND, name)

    def promote(self, model: "str | Bundle", alias: str, *, evidence: HasEvidence) -> Bundle:
        """Let ``name@alias`` mean a model; the report that speaks for it stays in the history.

        Parameters
        ----------
        model
            Reference, or a bundle of this lab.
        alias
            ``champion``, say.
        evidence
            A sealed validation report about this very version.

        Raises
        ------
        SealBroken, ModelError
            The report was edited, comes from another lab, or is about other models.
        """
        bundle = self.get(model if isinstance(model, str) else model.ref)
        bundle.check()
        shown = evidence.evidence()
        check_evidence(self._catalog, shown, model=bundle.digest, ref=bundle.ref)
        kept = keep_evidence(self._catalog, shown)
        self._catalog.point(KIND, bundle.name, check_name(alias), digest=bundle.digest, reason=f"report {shown.id}",
                            evidence=kept.digest)  # fmt: skip
        return bundle

    def export(self, ref: str, folder: Path, *, release: str = "") -> Path:
        """Write the bundle's files below ``folder`` (created, must be empty) and return it.

        Raises
        ------
        ExitBlocked
            A file holds what identifies a patient, and ``release`` gives no reason to let it out.
        """
        if folder.exists() and any(folder.iterdir()):
            msg = f"{folder} is not empty; give a new folder to export to"
            raise ModelError(msg)
        bundle = self.get(ref)
        check(self._catalog, _texts(bundle), what=f"model {bundle.ref}", reason=release)
        self._catalog.audit("export", kind=KIND, model=bundle.ref, digest=bundle.digest)
        return bundle.save(folder)

    def _welcome_base(self, wished: Ref) -> None:
        """Import the product's base model of that name once, as ``@general``."""
        if wished.name in base_names() and GENERAL not in self.aliases(wished.name):
            bundle = self._keep(base_bundle(wished.name))
            self._catalog.point(KIND, bundle.name, GENERAL, digest=bundle.digest, reason="comes with AI-LAB")

    def _bundle(self, record: Record) -> Bundle:
        return Bundle(record.name, record.version, record.body, self._reader(record), record.parents)

    def _reader(self, record: Record) -> Callable[[str], bytes]:
        files = record.body["files"]
        return lambda path: self._catalog.get(files[path])


def _texts(bundle: Bundle) -> Iterator[Chunk]:
    return (one for path in bundle.body["files"] for one in chunks(bundle.file(path), path))
