"""Multipart answers: every way of cutting and labelling them gives the parts, or an error, never fewer parts."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ailab_kernel.archives.multipart import parts
from ailab_kernel.ground.errors import ArchiveError, ArchiveUnreachable

TYPE = 'multipart/related; type="application/dicom"; boundary={}'
BODIES = st.lists(st.binary(max_size=80) | st.sampled_from([b"\r\n--x", b"\r\n", b"--", b"\r\n--xy--\r\n"]), max_size=4)


def message(bodies: list[bytes], boundary: bytes, *, length: bool, preamble: bytes = b"", tail: bytes = b"") -> bytes:
    head = [b"Content-Type: application/dicom\r\n" + (b"content-Length:  %d \r\n" % len(body) if length else b"") for body in bodies]
    return preamble + b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" + body + b"\r\n"
                               for one, body in zip(head, bodies, strict=True)) + b"--" + boundary + b"--" + tail


def reader(data: bytes, most: int) -> Callable[[int], bytes]:
    """Gives at most ``most`` bytes at once, as a slow network does."""
    rest = [data]

    def read(size: int) -> bytes:
        now, rest[0] = rest[0][:min(size, most)], rest[0][min(size, most):]
        return now

    return read


@given(BODIES, st.integers(1, 300), st.booleans(), st.sampled_from([b"", b"\r\n", b"a preamble\r\n"]))
@settings(deadline=None)
def test_parts_come_out_however_they_are_cut(bodies: list[bytes], most: int, length: bool, preamble: bytes) -> None:
    boundary = b"a-boundary-that-is-in-no-body"
    data = message(bodies, boundary, length=length, preamble=preamble, tail=b"\r\nan epilogue")
    assert list(parts(reader(data, most), TYPE.format(boundary.decode()))) == bodies


@given(BODIES.filter(any), st.integers(1, 300), st.data())
@settings(deadline=None)
def test_a_body_may_hold_anything_when_its_length_is_told(bodies: list[bytes], most: int, data: st.DataObject) -> None:
    whole = message(bodies, b"x", length=True)
    assert list(parts(reader(whole, most), TYPE.format('"x"'))) == bodies
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ArchiveUnreachable, match="broke off"):
        list(parts(reader(whole[:cut], most), TYPE.format("x")))


@given(st.binary(max_size=200), st.integers(1, 300))
@settings(deadline=None)
def test_anything_else_is_refused(data: bytes, most: int) -> None:
    with pytest.raises(ArchiveError):
        list(parts(reader(b"--x" + data.replace(b"--", b""), most), TYPE.format("x")))


@pytest.mark.parametrize(("data", "says"), [
    (b"--x\r\nContent-Length: 9\r\n\r\nshort\r\n--x--extra", "not as long as it says"),
    (b"--x\r\nContent-Length: 999999999999\r\n\r\n", "more than the 100 accepted"),
    (b"--x\r\n\r\n" + bytes(300), "more than the 100 bytes"),
    (b"--x\r\nA: " + b"a" * 20000, "more than the 16384 bytes"),
    (b"a" * 20000, "more than the 16384 bytes"),
    (b"--xyz", "no multipart message"),
    (b"--x\r\nContent-Length: 4\r\n\r\nbody", "broke off"),
])
def test_what_is_no_message_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ArchiveError, match=says):
        list(parts(reader(data, 1 << 20), TYPE.format("x"), limit=100))


def test_a_single_instance_needs_no_parts() -> None:
    assert list(parts(reader(b"DICM", 3), "application/dicom; transfer-syntax=*")) == [b"DICM"]
    with pytest.raises(ArchiveError, match="more than the 2 bytes"):
        list(parts(reader(b"DICM", 3), "application/dicom", limit=2))


@pytest.mark.parametrize("kind", ["text/html", "", "multipart/related", "application/json"])
def test_another_kind_of_answer_is_named(kind: str) -> None:
    with pytest.raises(ArchiveError, match="expected multipart/related"):
        list(parts(reader(b"", 1), kind))


def test_a_part_is_read_in_one_piece() -> None:
    asked: list[int] = []
    body = bytes(5000)
    read = reader(message([body] * 3, b"x", length=True), 1 << 20)

    def counted(size: int) -> bytes:
        asked.append(size)
        return read(size)

    assert list(parts(counted, TYPE.format("x"))) == [body] * 3
    assert asked.count(5000) == 2          # of the first, some came with its header
