"""What an ONNX file holds, read from its wire format (protobuf) without running or resolving anything.

Field numbers are those of ``onnx.proto``; only what may lead elsewhere is looked at: tensors kept in other files,
and operators that are not ONNX's own.
"""

from collections.abc import Iterator

from ailab_kernel.ground.errors import ModelError, UnsafeModel

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_DEEP = 16
_MOST = 5_000_000
# Messages inside messages: field number to kind.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
}
_GRAPH, _EXTERNAL, _LOCATION, _DOMAIN = 7, 13, 14, 7
_OWN = frozenset({b"", b"ai.onnx", b"ai.onnx.ml"})


def check_onnx(data: bytes, bundle: str) -> None:
    """Refuse an ONNX file that keeps tensors elsewhere or calls for operators of others.

    Raises
    ------
    UnsafeModel
        External data, or a custom operator.
    ModelError
        No ONNX.
    """
    try:
        if not any(number == _GRAPH and kind == _BYTES for number, kind, _ in _fields(memoryview(data))):
            msg = f"{bundle}: no ONNX model: it has no graph"
            raise ModelError(msg)
        _look(memoryview(data), "model", bundle, 0)
    except (IndexError, ValueError) as error:
        msg = f"{bundle}: no ONNX model, or cut off ({str(error)[:60]})"
        raise ModelError(msg) from None


def _look(data: memoryview, kind: str, bundle: str, depth: int) -> None:
    if depth > _DEEP:
        msg = "nested too deeply"
        raise ValueError(msg)
    for number, wire, value in _fields(data):
        if kind == "tensor" and (number == _EXTERNAL or (number == _LOCATION and value)):
            msg = f"bundle {bundle}: a tensor of its ONNX file is in another file (external data), which is never read"
            raise UnsafeModel(msg)
        if kind == "node" and number == _DOMAIN and isinstance(value, memoryview) and bytes(value) not in _OWN:
            name = bytes(value[:40]).decode("utf8", "replace")
            msg = f"bundle {bundle}: its ONNX file calls for operators of {name!r}, which are code of others; refused"
            raise UnsafeModel(msg)
        inside = _INSIDE.get(kind, {}).get(number)
        if inside and wire == _BYTES and isinstance(value, memoryview):
            _look(value, inside, bundle, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field of one message."""
    at = count = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value: int | memoryview
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            size = _SIZES.get(wire, -1)
            if wire == _BYTES:
                size, at = _varint(data, at)
            if size < 0 or size > len(data) - at or not number:
                msg = f"no field at byte {at}"
                raise ValueError(msg)
            value, at = data[at : at + size], at + size
        count += 1
        if count > _MOST:
            msg = "too many fields"
            raise ValueError(msg)
        yield number, wire, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
    msg = f"no number at byte {at}"
    raise ValueError(msg)
