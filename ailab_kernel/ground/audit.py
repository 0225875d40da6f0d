"""The audit trail's proof: a chain of hashes over its lines, and the lab's signature of the newest one.

Whoever edits a line breaks the chain; whoever computes the chain anew, or cuts off its end, no longer has the line
that was signed. Who can put back an older trail together with its older anchor is found only where the lines were
forwarded to (`ground.syslog`).
"""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .ids import canonical_json, sha256

FIELDS = ("seq", "at", "by", "event", "detail")
_MOST = 20                                     # more findings say no more


@dataclass(frozen=True)
class Anchor:
    """A line of the trail that the lab vouches for.

    Attributes
    ----------
    seq, chain
        Its number, and its hash, which covers every line before it.
    signature
        Ed25519 of both by the lab's key, hex; empty before it is signed.
    trusted
        Whether the signature is this lab's.
    before
        Hash of the line before it, where it is known.
    """

    seq: int
    chain: str
    signature: str = ""
    trusted: bool = True
    before: str = ""

    def signed_part(self) -> bytes:
        """The bytes that are signed."""
        return canonical_json({"audit": self.chain, "seq": self.seq})


class Anchors:
    """The newest anchor, in a file of its own beside the trail."""

    def __init__(self, path: Path, *, sign: Callable[[bytes], str], verify: Callable[[bytes, str], bool]) -> None:
        self._path, self._sign, self._verify = path, sign, verify

    def keep(self, line: Anchor | None, *, chain_at: Callable[[int], str]) -> None:
        """Sign a committed line, if the line that was signed last still stands where it stood.

        A trail that was cut off or computed anew keeps its old anchor, so that it is found however long it grows.

        Parameters
        ----------
        line
            The line; None is one of another trail.
        chain_at
            Returns the hash of a line of the trail; empty where there is none.
        """
        if line is None:
            return
        with self.held():
            last = self.newest()
            if last is None:
                goes_on = line.seq == 1
            else:
                there = line.before if last.seq == line.seq - 1 else chain_at(last.seq)
                goes_on = last.trusted and last.seq < line.seq and there == last.chain
            if goes_on:
                self.write(line)

    def write(self, line: Anchor) -> None:
        """Sign a line, whatever was signed before."""
        told = {"seq": line.seq, "chain": line.chain, "signature": self._sign(line.signed_part())}
        temporary = self._path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(canonical_json(told))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)          # after a power loss it may be the one before, which is true as well

    def newest(self) -> Anchor | None:
        """Return the anchor; None where there is no file, and one that is not trusted where it cannot be read."""
        if not self._path.is_file():
            return None
        try:
            told = json.loads(self._path.read_bytes())
            found = Anchor(int(told["seq"]), str(told["chain"]), str(told["signature"]))
        except (ValueError, KeyError, TypeError):
            return Anchor(0, "", trusted=False)
        return found if self._verify(found.signed_part(), found.signature) else Anchor(found.seq, "", trusted=False)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other writer of the anchor waiting, in this process and in others."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _LOCK, self._path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


_LOCK = threading.Lock()


def findings(trail: Sequence[Mapping[str, object]], anchor: Anchor | None) -> tuple[str, ...]:
    """Return what is wrong with a trail, in words; empty when it is as it was written.

    Parameters
    ----------
    trail
        Lines as the table has them, by number.
    anchor
        The newest anchor.
    """
    faults = [*_broken(trail), *_unanchored(trail, anchor)]
    more = [f"and {len(faults) - _MOST} more"] if len(faults) > _MOST else []
    return tuple(faults[:_MOST] + more)


def _broken(trail: Sequence[Mapping[str, object]]) -> Iterator[str]:
    chain = ""
    for number, line in enumerate(trail, 1):
        if line["seq"] != number:
            yield f"line {number} is not there: line {line['seq']} stands in its place"
            return                             # every number after it is off as well
        told = {key: line[key] for key in FIELDS}
        if sha256(canonical_json(told) + chain.encode()) != line["chain"]:
            yield f"line {number} is not what was written, or the line before it is not"
        chain = str(line["chain"])


def _unanchored(trail: Sequence[Mapping[str, object]], anchor: Anchor | None) -> Iterator[str]:
    if anchor is None:
        if trail:
            yield "no line is signed: the file audit.anchor is gone"
    elif not anchor.trusted:
        yield "the file audit.anchor does not bear this lab's signature"
    elif anchor.seq > len(trail):
        yield f"the end is cut off: line {anchor.seq} was signed, and {len(trail)} are there"
    elif trail[anchor.seq - 1]["chain"] != anchor.chain:
        yield f"line {anchor.seq} is not the one that was signed: the chain was computed anew"
