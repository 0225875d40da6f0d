"""Check an evidence pack of AI-LAB: who signed it, and that nothing in it was changed. Needs Python and nothing else.

``python verify.py [FINGERPRINT]`` in the unpacked folder; the fingerprint is what the lab says its key has, asked for
by another way than this pack came (``ailab models key`` shows it there).
"""

import hashlib
import json
import sys
from pathlib import Path

PACK, SIGNATURE = "pack.json", "pack.sig"
_KIND = "ailab-evidence-pack"
# Ed25519 (RFC 8032, 5.1): the field's prime, the group's order, the curve's constant, a root of -1.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)

Point = tuple[int, int, int, int]              # X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def main(words: list[str]) -> int:
    """Check the pack that this file lies in; 0 when it is whole."""
    folder = Path(__file__).resolve().parent
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    facts, findings = verify(files, fingerprint=words[0] if words else "")
    sys.stdout.write("".join(f"{line}\n" for line in (*facts, *(f"NOT AS SIGNED: {line}" for line in findings))))
    return 1 if findings else 0


def verify(files: dict[str, bytes], *, fingerprint: str = "") -> tuple[list[str], list[str]]:
    """Return what a pack says of itself, and what is wrong with it; the latter empty when it is whole.

    Parameters
    ----------
    files
        Bytes of each file by path in the pack.
    fingerprint
        What the lab's key must have, with or without blanks; empty: whatever key signed it, which proves only that it
        is whole.
    """
    try:
        told = json.loads(files[PACK])
        key, signature = bytes.fromhex(told["key"]), bytes.fromhex(files[SIGNATURE].decode().strip())
        expected, model = dict(told["files"]), told["models"][0]
        lab, made = str(told["lab"]), str(told["made_at"])
        ref, known = f"{model['name']}@{model['version']}", told["kind"] == _KIND
    except (KeyError, ValueError, TypeError, LookupError):
        return [], [f"{PACK} or {SIGNATURE} is missing or cannot be read: this is no evidence pack"]
    found = hashlib.sha256(key).hexdigest()[:32]
    facts = [f"evidence pack about {ref} (sha256 {model['digest']})",
             f"made by {lab or 'a lab without a name'}, {made}",
             f"signed by the key with fingerprint {' '.join(found[at:at + 4] for at in range(0, 32, 4))}"]  # fmt: skip
    findings = []
    if not known or not signed(key, files[PACK], signature):
        findings.append(f"{PACK} does not bear the signature of that key")
    if fingerprint and "".join(fingerprint.split()).lower() != found:
        findings.append("the key is not the one whose fingerprint was given")
    for name in sorted({*expected, *files} - {PACK, SIGNATURE}):
        if name not in files or name not in expected:
            findings.append(f"{name} {'is missing' if name in expected else 'was added'}")
        elif hashlib.sha256(files[name]).hexdigest() != expected[name]:
            findings.append(f"{name} was changed")
    reports = sorted({name.split("/")[1] for name in files if name.startswith("reports/")})
    for report in reports:
        findings += [f"report {report}: {line}" for line in _report(files, f"reports/{report}/", key)]
    outcome = "see below" if findings else "as signed"
    facts.append(f"{len(expected)} files, {len(reports)} sealed reports: {outcome}")
    return facts, findings


def _report(files: dict[str, bytes], place: str, key: bytes) -> list[str]:
    """What is wrong with a sealed report: its own seal, and its files by its own manifest."""
    try:
        data, seal = files[f"{place}manifest.json"], bytes.fromhex(files[f"{place}manifest.sig"].decode().strip())
        expected = dict(json.loads(data)["files"])
    except (KeyError, ValueError, TypeError):
        return ["its manifest or seal is missing or cannot be read"]
    wrong = [] if signed(key, data, seal) else ["its manifest does not bear the lab's seal"]
    return wrong + [f"{name} is not what was sealed" for name, digest in sorted(expected.items())
                    if hashlib.sha256(files.get(place + name, b"")).hexdigest() != digest]  # fmt: skip


def signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature (64 bytes) on a message is by a public key (32 bytes); RFC 8032, 5.1.7."""
    whose = _point(key)
    s = int.from_bytes(signature[32:], "little")
    if whose is None or len(signature) != 64 or s >= _L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    minus = (_P - whose[0], whose[1], whose[2], _P - whose[3])
    return _bytes(_add(_times(s, _BASE), _times(k, minus))) == signature[:32]


def _point(data: bytes) -> Point | None:
    """The point that 32 bytes encode (5.1.3); None where they encode none."""
    whole = int.from_bytes(data, "little")
    sign, y = whole >> 255, whole & ((1 << 255) - 1)
    if len(data) != 32 or y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    x = x if x * x % _P == square else x * _I % _P
    if x * x % _P != square or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else _P - x
    return x, y, 1, x * y % _P


def _bytes(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    return ((y * inverse % _P) | ((x * inverse % _P & 1) << 255)).to_bytes(32, "little")


def _add(one: Point, other: Point) -> Point:
    """Sum of two points in extended coordinates (5.1.4)."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while number:
        total = _add(total, point) if number & 1 else total
        point, number = _add(point, point), number >> 1
    return total


_BASE: Point = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little")) or (0, 1, 1, 0)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
