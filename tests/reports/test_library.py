"""Templates: typed parameters, checked before anything runs."""

import json

import pytest

from ailab_kernel.ground.errors import ParameterError
from ailab_kernel.reports import check, template, templates
from ailab_kernel.reports.library import Template

from .work import NOTEBOOKS


def plain() -> Template:
    return template("plain", folder=NOTEBOOKS)


def written(tmp_path, *sources: str, tag: str = "parameters") -> Template:
    cells = [{"cell_type": "code", "metadata": {"tags": [tag]}, "source": source} for source in sources]
    path = tmp_path / "odd.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}}))
    return Template("odd", path)


def test_defaults_types_and_meanings():
    assert check(plain(), {}) == {"who": "world", "number": 3, "share": 0.5, "loud": False, "names": [],
                                  "model": "heart-wall@1"}  # fmt: skip
    assert [(one.name, one.type, one.help) for one in plain().parameters][:2] == [
        ("who", "str", "whom to greet"), ("number", "int", "a number")]  # fmt: skip
    assert plain().parameters[-1].type == "ModelRef"
    assert plain().title == "Plain"


@pytest.mark.parametrize(("given", "value"), [
    ({"number": "4"}, 4), ({"number": -2}, -2), ({"number": 4.0}, 4), ({"share": "0.25"}, 0.25), ({"share": 1}, 1.0),
    ({"loud": "yes"}, True), ({"loud": "TRUE"}, True), ({"loud": "0"}, False), ({"loud": True}, True),
    ({"names": '["a", "b"]'}, ["a", "b"]), ({"names": ("a",)}, ["a"]), ({"names": []}, []), ({"who": ""}, ""),
    ({"who": "7"}, "7"), ({"model": "lungs@2"}, "lungs@2"),
])  # fmt: skip
def test_text_from_a_terminal_becomes_the_type(given, value):
    (name,) = given
    found = check(plain(), given)[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("given", [
    {"number": "4.5"}, {"number": 4.5}, {"number": True}, {"number": "many"}, {"number": None}, {"number": [1]},
    {"number": float("inf")}, {"number": float("nan")}, {"share": "half"}, {"share": "nan"}, {"share": "inf"},
    {"share": False}, {"loud": "perhaps"}, {"loud": 1}, {"loud": None}, {"names": "a, b"}, {"names": '{"a": 1}'},
    {"names": '"text"'}, {"names": 3}, {"names": None}, {"who": 3}, {"who": None}, {"who": ["a"]}, {"model": 1},
])  # fmt: skip
def test_a_wrong_type_is_named_with_the_parameter_and_its_meaning(given):
    (name,) = given
    meaning = next(one.help for one in plain().parameters if one.name == name)
    with pytest.raises(ParameterError, match=f"report plain: {name} = .* is no .*{meaning}"):
        check(plain(), given)


def test_an_unknown_parameter_gets_a_hint():
    with pytest.raises(ParameterError, match=r"no parameter 'nubmer', only who, number.*did you mean number"):
        check(plain(), {"nubmer": 3})
    with pytest.raises(ParameterError, match=r"model$"):
        check(plain(), {"zzz": 3})


def test_unknown_template():
    with pytest.raises(ParameterError, match="no report template 'plan'; there are cases, fails, hostile, plain"):
        template("plan", folder=NOTEBOOKS)


@pytest.mark.parametrize(("sources", "message"), [
    ([], "one cell tagged 'parameters' is expected, found 0"),
    (["a: int = 1", "b: int = 2"], "found 2"),
    (["a = 1"], "is no parameter"),
    (["a: int"], "is no parameter"),
    (["import os"], "is no parameter"),
    (["a: complex = 1j"], "type complex"),
    (["a: int = open('x')"], "a plain value"),
    (["a: int ="], "cannot be read as Python"),
])  # fmt: skip
def test_a_template_that_is_not_one_is_refused(tmp_path, sources, message):
    with pytest.raises(ParameterError, match=message):
        _ = written(tmp_path, *sources).parameters


def test_digest_follows_the_code_and_not_the_outputs(tmp_path):
    book = json.loads((NOTEBOOKS / "plain.ipynb").read_text())
    book["cells"][-1]["outputs"], book["cells"][-1]["execution_count"] = ["x"], 9
    (tmp_path / "plain.ipynb").write_text(json.dumps(book))
    assert template("plain", folder=tmp_path).digest == plain().digest
    book["cells"][-1]["source"] = ["print(1)"]
    (tmp_path / "plain.ipynb").write_text(json.dumps(book))
    assert template("plain", folder=tmp_path).digest != plain().digest


def test_the_products_templates_can_be_read():
    assert set(templates()) >= {"annotate", "train", "validate", "infer"}
    for one in templates().values():
        assert all(parameter.help for parameter in one.parameters)
        assert set(check(one, {})) == {parameter.name for parameter in one.parameters}
