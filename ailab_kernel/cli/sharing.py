"""``ailab models search | push | pull | key | serve``: models from lab to lab."""

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ailab_kernel.ground.errors import MissingExtra, WrongUse

from .asked import open_lab
from .exits import Release
from .show import AsJson, line, rows, show

if TYPE_CHECKING:
    from ailab_kernel.lab import Lab
    from ailab_kernel.models.sharing import Trusted

Url = Annotated[str, typer.Argument(help="A folder, or http(s)://HOST[:PORT]/PATH?token_env=NAME&ca=FILE.")]
Ref = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or NAME@ALIAS.")]


def search(
    url: Url,
    words: Annotated[str, typer.Argument(help="Words in name, recipe or summary; empty: all.")] = "",
    as_json: AsJson = False,
) -> None:
    """List what trusted labs offer on a shelf. Example: ailab models search https://models.example/shelf lung."""
    from ailab_kernel.models.sharing import open_shelf
    from ailab_kernel.models.sharing import search as look

    lab = open_lab()
    found = look(lab.workspace.catalog, open_shelf(url), _trusted(lab), words=words)
    offers = [{"model": offer.ref, "lab": one.name, "recipe": offer.recipe, "evidence": len(offer.evidence),
               "digest": offer.digest[:16], "about": offer.summary[:80]} for one, _, offer in found.offers]  # fmt: skip
    body = {"models": offers, "refused": found.refused,
            "not_trusted": [{"lab": name, "key": key} for name, key, _ in found.unknown]}  # fmt: skip

    def _table() -> None:
        rows(offers, empty="no lab that is trusted offers a model of that kind here")
        for text in (*found.refused, *(how for _, _, how in found.unknown)):
            line(f"! {text}")

    show(body, as_json=as_json, table=_table)
    if found.refused:
        raise typer.Exit(1)


def push(url: Url, ref: Ref, *, release: Release = "", as_json: AsJson = False) -> None:
    """Offer a model to other labs, signed. Example: ailab models push ./shelf heart-wall@champion."""
    from ailab_kernel.models.sharing import open_shelf
    from ailab_kernel.models.sharing import push as offer

    lab = open_lab()
    index = offer(lab.workspace.catalog, ref, open_shelf(url), lab=lab.workspace.settings.lab_name, release=release)
    body = {"lab": index.lab, "fingerprint": index.fingerprint, "sequence": index.sequence,
            "models": [one.ref for one in index.offers]}  # fmt: skip
    show(body, as_json=as_json)


def pull(
    url: Url,
    ref: Annotated[str, typer.Argument(help="NAME or NAME@VERSION, as its own lab calls it.")],
    *,
    lab: Annotated[str, typer.Option(help="From which trusted lab, where several offer it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take a model that a trusted lab signed; validate it here before use. Example: ailab models pull ./shelf lungs."""
    from ailab_kernel.models.sharing import open_shelf
    from ailab_kernel.models.sharing import pull as take

    mine = open_lab()
    bundle = take(mine.workspace.catalog, ref, open_shelf(url), trusted=_trusted(mine), lab=lab)
    body = {"model": bundle.ref, "recipe": bundle.recipe, "digest": bundle.digest,
            "next": f"ailab validate {bundle.ref} YOUR-DATASET"}  # fmt: skip
    show(body, as_json=as_json)


def key(as_json: AsJson = False) -> None:
    """Show this lab's public key, for others to trust. Example: ailab models key."""
    from ailab_kernel.ground.seal import fingerprint
    from ailab_kernel.models.sharing.trusted import spaced

    lab = open_lab()
    public, name = lab.workspace.catalog.public_key(), lab.workspace.settings.lab_name or "our-lab"
    body = {"lab": name, "key": public, "fingerprint": fingerprint(public)}

    def _table() -> None:
        line(f"fingerprint  {spaced(fingerprint(public))}   (read it to the other lab by telephone)")
        line(f'[trusted_labs]\n{name} = "{public}"')

    show(body, as_json=as_json, table=_table)


def serve(
    folder: Annotated[Path, typer.Argument(help="The shelf's folder; made where it is not there.")],
    *,
    listen: Annotated[str, typer.Option(help="ADDRESS:PORT; others than this machine need TLS and a token.")] =
        "127.0.0.1:8765",
    read_token: Annotated[str, typer.Option(help="Where the token to read is: file:/PATH, env:NAME, ...")] = "",
    write_token: Annotated[str, typer.Option(help="Where the token to write is; empty: nobody writes.")] = "",
    cert: Annotated[str, typer.Option(help="Certificate (PEM file).")] = "",
    private_key: Annotated[str, typer.Option("--key", help="Where its key is: file:/PATH (mode 600), ...")] = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Serve a shelf to other labs. Example: ailab models serve ./shelf --write-token env:SHELF_TOKEN."""
    if find_spec("fastapi") is None:
        msg = "serving needs fastapi and uvicorn; pip install 'ailab-kernel[hub]'"
        raise MissingExtra(msg)
    from ailab_kernel.ground.references import secret
    from ailab_kernel.ground.tls import server_context
    from ailab_kernel.service.shelf import READ, WRITE, ShelfDesk, ShelfServer

    lab, (host, _, port) = open_lab(), listen.rpartition(":")
    if not port.isdecimal() or not host:
        msg = f"--listen {listen!r}: ADDRESS:PORT is expected, 127.0.0.1:8765 say"
        raise WrongUse(msg)
    if bool(cert) != bool(private_key):
        msg = "--cert and --key belong together; give both or none"
        raise WrongUse(msg)
    tokens = {secret(place, what=f"--{act}-token").strip(): act
              for place, act in ((read_token, READ), (write_token, WRITE)) if place}  # fmt: skip
    tls = server_context(cert, private_key, what=("--cert", "--key")) if cert else None
    folder.mkdir(parents=True, exist_ok=True)
    server = ShelfServer(ShelfDesk(folder.resolve(), _trusted(lab), tokens), host=host, port=int(port), tls=tls)
    show({"shelf": str(folder), "url": server.url}, as_json=as_json,
         table=lambda: line(f"the shelf {folder} is served at {server.url}; end it with Ctrl-C"))  # fmt: skip
    with suppress(KeyboardInterrupt):          # that is how it is told to end
        server.run()


def _trusted(lab: "Lab") -> "tuple[Trusted, ...]":
    """Whom the settings name, and this lab itself."""
    from ailab_kernel.models.sharing import Trusted, trusted_labs

    told, own = trusted_labs(lab.workspace.settings.trusted_labs), lab.workspace.catalog.public_key()
    name = lab.workspace.settings.lab_name or "this-lab"
    return told if own in {one.key for one in told} else (*told, Trusted(name, own))
