"""Settings: defaults, then ``ailab.toml``, then ``AILAB_*`` variables; a mistake is named with file, key and line.

A pilot lab needs none. ``ailab.toml`` is looked for in the working folder and above it; relative paths in it start
at its own folder.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .errors import SettingsError

FILE = "ailab.toml"
PREFIX = "AILAB_"


class Settings(BaseSettings):
    """What a lab can be told; every field is one key of ``ailab.toml`` and one ``AILAB_`` variable."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    home: Path = Field(Path("lab"), description="Folder that holds the lab's catalog, objects, runs and reports.")
    archive: str = Field("folder:archive", description=(
        "Image archive: folder:PATH, dicomweb+http(s)://HOST/PATH or dimse(+tls)://[CALLING@]HOST:PORT/CALLED."))
    catalog: str = Field("", description="Catalog database URL; empty is SQLite in home, or postgresql+psycopg://...")
    objects: str = Field("objects", description="Object store: a folder below home, or an fsspec URL such as s3://...")
    objects_key: str = Field("", description=(
        "Where the key is that objects are encrypted with (AES-256-GCM): env:NAME, file:/PATH or keyring:SERVICE/NAME; "
        "empty: they are not encrypted. Set it before the first object."))
    jobs: str = Field("", description="Job database URL; empty is SQLite in home, or postgresql://...")
    service: str = Field("", description=(
        "Trusted service of the hub that holds catalog and archive: http(s)://HOST/services/ailab; empty: in process."))
    service_ca: str = Field("", description=(
        "Certificates of the authority that signed the service's own (PEM file); empty: the system's authorities."))
    service_cert: str = Field("", description=(
        "Certificate that the service itself shows (PEM file), where it listens at https://; empty: http."))
    service_key: str = Field("", description=(
        "Where its key is: file:/PATH (mode 600), env:NAME or keyring:SERVICE/NAME."))
    compute: str = Field("local", description=(
        "Dask: local (this process), local:N worker processes, slurm://PARTITION, or tcp://HOST:PORT."))
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run; auto takes a GPU if any.")
    lab_name: str = Field("", description="What other labs call this one where it shares models: north-hospital.")
    trusted_labs: str = Field("", description=(
        "Other labs whose models may be taken, and their public keys (ailab models key): a table [trusted_labs] of "
        'names and keys, or "north-hospital=KEY, south-hospital=KEY".'))

    @field_validator("trusted_labs", mode="before")
    @classmethod
    def _as_text(cls, told: Any) -> Any:
        """A table of names and keys is as good as the text; settings are hashed, which a table cannot be."""
        return ", ".join(f"{name}={key}" for name, key in told.items()) if isinstance(told, dict) else told

    @classmethod
    def settings_customise_sources(  # type: ignore[override]
        cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then what the file said (handed in as arguments), then the defaults."""
        return sources["env_settings"], sources["init_settings"]


def load_settings(folder: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings that hold in ``folder`` (default: the working folder).

    Parameters
    ----------
    folder
        Where to start looking for ``ailab.toml``.
    overrides
        Values that beat every other source (``home=...``).

    Raises
    ------
    SettingsError
        Unknown key or wrong value; the message names file, key and line.
    """
    start = (folder or Path.cwd()).resolve()
    file = find_file(start)
    told = _read(file) if file else {}
    try:
        settings = Settings(**told)
    except ValidationError as error:
        raise SettingsError(_explain(error, file)) from None
    settings = settings.model_copy(update={key: value for key, value in overrides.items() if value is not None})
    base = file.parent if file else start
    return settings.model_copy(update={"home": (base / Path(settings.home).expanduser()).resolve()})


def find_file(start: Path) -> Path | None:
    """Return the nearest ``ailab.toml`` at or above ``start``."""
    return next((folder / FILE for folder in (start, *start.parents) if (folder / FILE).is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file}: not valid TOML: {error}"
        raise SettingsError(msg) from None


def _explain(error: ValidationError, file: Path | None) -> str:
    """One line for the first mistake: where it stands, what is wrong, what would be right."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"{_where(key, file)}: unknown setting {key!r}; known are {', '.join(sorted(Settings.model_fields))}"
    return f"{_where(key, file)}: {key} = {first['input']!r} does not fit: {first['msg']}"


def _where(key: str, file: Path | None) -> str:
    """The variable's name when it is set (it beats the file), else ``file:line`` of the key."""
    variable = f"{PREFIX}{key.upper()}"
    if variable in os.environ:
        return variable
    lines = file.read_text(encoding="utf8").splitlines() if file else []
    found = [number for number, line in enumerate(lines, 1) if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line)]
    return f"{file}:{found[0]}" if found else variable
