"""Models by name: import, versions, aliases with history, export."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ailab_kernel.ground.catalog import Catalog, Move, Record
from ailab_kernel.ground.errors import ModelError, NotFound, WrongUse
from ailab_kernel.ground.ids import Ref, check_name
from ailab_kernel.privacy.exits import check
from ailab_kernel.privacy.readable import Chunk, chunks

from .acceptance import REVOKED, Standing, approve, declare, earlier, in_force
from .bundle import KIND, Bundle, Bundles, read_bundle
from .evidence import HasEvidence, check_accepted, check_approved, check_evidence, keep_evidence, reason_of
from .importing import Imported, read_model

_BASE = Path(__file__).parent / "base"
GENERAL = "general"
IMPORT = "import"


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
        check(self._catalog, texts_of(bundle), what="the new model")
        return self._keep(bundle, parents)

    def _keep(self, bundle: Bundle, parents: tuple[str, ...] = ()) -> Bundle:
        for path, digest in bundle.body["files"].items():
            if self._catalog.put(bundle.file(path)) != digest:
                msg = f"bundle {bundle.name}: {path} changed while it was being kept"
                raise ModelError(msg)
        return self._bundle(self._catalog.append(KIND, bundle.body, name=bundle.name, parents=parents))

    def import_bundle(self, source: str | Path, *, name: str = "", recipe: str = "", digest: str = "") -> Bundle:
        """Keep a model from outside and return it; see `import_model`."""
        return self.import_model(source, name=name, recipe=recipe, digest=digest).bundle

    def import_model(self, source: str | Path, *, name: str = "", recipe: str = "", digest: str = "") -> Imported:
        """Keep a model from outside and return it with what could be checked, and what not; nothing in it is run here.

        Parameters
        ----------
        source
            Folder, zip or file: a MONAI bundle, Hugging Face's layout, a TensorFlow.js layers model of a MeshNet,
            TorchScript or ONNX.
        name, recipe
            What it is called here, and the recipe that prepares its input; empty: as it says itself.
        digest
            ``sha256:...`` that the source must have.

        Raises
        ------
        ModelError, UnsafeModel, ModelChanged
            No model, one that would need code of its own, or another one than was asked for; nothing is kept.
        """
        found = read_model(Path(source), name=name, recipe=recipe, digest=digest)
        bundle = self._keep(found.bundle)
        self._catalog.append(IMPORT, found.told(), name=bundle.name, parents=(bundle.digest,))
        self._catalog.audit("import", kind=KIND, model=bundle.ref, digest=bundle.digest, layout=found.layout,
                            source=found.source)  # fmt: skip
        return replace(found, bundle=bundle)

    def imports(self, bundle: Bundle) -> list[Mapping[str, Any]]:
        """Return what was told when a model was imported: layout, source, checked and unchecked; oldest first."""
        return [one.body for one in self._catalog.query(IMPORT, name=bundle.name) if bundle.digest in one.parents]

    def take_in(self, bundle: Bundle, **told: str) -> Bundle:
        """Keep another lab's bundle under the digest that it has there; ``told`` says in the trail where it is from."""
        kept = self._keep(bundle, bundle.parents)
        self._catalog.audit("import", kind=KIND, model=kept.ref, digest=kept.digest, **told)
        return kept

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
        meant = {move.alias: move.digest for move in self.history(name)}
        return {alias: digest for alias, digest in meant.items() if digest}

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
            ``champion``, say; ``challenger`` for a model that runs beside it.
        evidence
            A sealed validation report about this very version that passed the criteria in force.

        Raises
        ------
        SealBroken, ModelError
            The report was edited, comes from another lab, is about other models or another dataset, was judged by other
            criteria or did not pass its gate; or an approval is missing.
        """
        bundle = self.get(model if isinstance(model, str) else model.ref)
        bundle.check()
        shown, called = evidence.evidence(), check_name(alias)
        check_evidence(self._catalog, shown, model=bundle.digest, ref=bundle.ref)
        check_accepted(self._catalog, shown, bundle=bundle, alias=called)
        kept = keep_evidence(self._catalog, shown)
        check_approved(self._catalog, shown, kept, bundle=bundle, alias=called)
        self._catalog.point(KIND, bundle.name, called, digest=bundle.digest, reason=reason_of(shown),
                            evidence=kept.digest)  # fmt: skip
        return bundle

    def approve(self, model: "str | Bundle", alias: str, *, evidence: HasEvidence) -> Record:
        """Write down that whoever runs this has read a report and approves of the model for an alias.

        Who promotes cannot be who approves, where the criteria ask for approvals; behind the hub the service knows who
        is who, in a pilot the login does.

        Raises
        ------
        SealBroken, ModelError
            As of `promote`.
        """
        bundle = self.get(model if isinstance(model, str) else model.ref)
        shown, called = evidence.evidence(), check_name(alias)
        check_evidence(self._catalog, shown, model=bundle.digest, ref=bundle.ref)
        check_accepted(self._catalog, shown, bundle=bundle, alias=called)
        record = self._catalog.query(KIND, digest=bundle.digest)[0]
        return approve(self._catalog, record, called, report=shown.id, manifest=shown.manifest)

    def revoke(self, name: str, alias: str, *, reason: str, back: bool = False) -> str:
        """Take an alias from the model that it means; the reason stays in the history.

        Parameters
        ----------
        name, alias
            ``heart-wall`` and ``champion``.
        reason
            Why; recorded.
        back
            Let the alias mean what it meant before (the newest of which was not revoked) instead of nothing.

        Returns
        -------
        str
            Digest of the model that the alias means now; empty for none.

        Raises
        ------
        NotFound
            The alias means nothing, or there is nothing to go back to.
        WrongUse
            No reason, or one that identifies a patient.
        """
        if not reason.strip() or self._catalog.found([reason]):
            msg = "a reason is needed to revoke a model, one that identifies nobody; it stands in the history"
            raise WrongUse(msg)
        now = self._catalog.resolve(KIND, name, alias).digest
        to = earlier(self.history(name), alias) if back else ""
        if back and not to:
            msg = f"{name}@{alias} meant no other model before that was not revoked; revoke it without going back"
            raise NotFound(msg)
        self._catalog.point(KIND, name, alias, digest=to, reason=f"{REVOKED}{reason.strip()}")
        self._catalog.audit("revoke", kind=KIND, model=f"{name}@{alias}", digest=now)
        return to

    def criteria(self, ref: str, *, alias: str = "champion") -> Standing:
        """Return the acceptance criteria in force for an alias of a model's name."""
        bundle = self.get(ref)
        return in_force(self._catalog, bundle.name, alias=alias, recipe=bundle.recipe)

    def declare(self, name: str, criteria: str | Path) -> Record:
        """Put acceptance criteria in force for the models of a name, from now on; behind the hub administrators only.

        Parameters
        ----------
        name
            ``heart-wall``.
        criteria
            TOML text, or a file of it; see `acceptance.criteria`.
        """
        text = criteria.read_text(encoding="utf8") if isinstance(criteria, Path) else criteria
        return declare(self._catalog, name, text)

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
        check(self._catalog, texts_of(bundle), what=f"model {bundle.ref}", reason=release)
        self._catalog.audit("export", kind=KIND, model=bundle.ref, digest=bundle.digest)
        return bundle.save(folder)

    def _welcome_base(self, wished: Ref) -> None:
        """Import the product's base model of that name once, as ``@general``."""
        if wished.name in base_names() and not any(
                move.alias == GENERAL for move in self.history(wished.name)):  # fmt: skip
            bundle = self._keep(base_bundle(wished.name))
            self._catalog.point(KIND, bundle.name, GENERAL, digest=bundle.digest, reason="comes with AI-LAB")

    def _bundle(self, record: Record) -> Bundle:
        return Bundle(record.name, record.version, record.body, self._reader(record), record.parents)

    def _reader(self, record: Record) -> Callable[[str], bytes]:
        files = record.body["files"]
        return lambda path: self._catalog.get(files[path])


def texts_of(bundle: Bundle) -> Iterator[Chunk]:
    """Yield what can be read in a bundle's files, to be searched before it leaves."""
    return (one for path in bundle.body["files"] for one in chunks(bundle.file(path), path))
