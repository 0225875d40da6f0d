import pytest
from hypothesis import given
from hypothesis import strategies as st

from ailab_kernel.ground.errors import NameUnclear
from ailab_kernel.ground.ids import Ref, canonical_json, sha256, sha256_file


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("heart-wall", Ref("heart-wall")),
        ("heart-wall@3", Ref("heart-wall", version=3)),
        ("heart-wall@champion", Ref("heart-wall", alias="champion")),
    ],
)
def test_references(text, ref):
    assert Ref.parse(text) == ref
    assert str(ref) == text


@pytest.mark.parametrize("text", ["", "Heart", "heart wall", "heart@", "heart@0", "@1", "a@b@c", "../etc", "heart-@1"])
def test_unclear_names_are_refused(text):
    with pytest.raises(NameUnclear):
        Ref.parse(text)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_equal_values_have_equal_bytes(value):
    shuffled = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(shuffled)


def test_digest_of_a_file_is_the_digest_of_its_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 1000)
    assert sha256_file(path) == sha256(b"abc" * 1000)
