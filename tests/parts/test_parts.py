"""Conformance of every part of the catalogue as a value: its fields, and how a spec sets them."""

from __future__ import annotations

import ast
import re
from contextlib import nullcontext
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.errors import DefinitionError, SpecError
from bayescale.modelling.design import design
from bayescale.parts.base import AbstractDiscrepancy, Part
from bayescale.parts.catalogue import catalogue, part
from bayescale.parts.discrepancies.local import Local

KINDS = ("laws", "resources", "penalties", "responses", "noise", "discrepancies", "pooling")
NAMED = [(kind, name) for kind in KINDS for name in catalogue(f"bayescale.parts.{kind}")]
FIELDS = [(kind, name, field) for kind, name in NAMED for field in part(kind, name).defaults()]
every_part = pytest.mark.parametrize(("kind", "name"), NAMED, ids=map("/".join, NAMED))
every_field = pytest.mark.parametrize(("kind", "name", "field"), FIELDS, ids=map("/".join, FIELDS))


def content_with(kind: str, name: str) -> dict[str, Any]:
    """What a spec says that has a part, and is otherwise as by default."""
    noise = {part("noise", other).kind: other for other in catalogue("bayescale.parts.noise")}
    response = {part("responses", other).kind: other for other in catalogue("bayescale.parts.responses")}
    return {
        "laws": lambda: {"law": name},
        "resources": lambda: {
            "law": "additive",
            "inputs": [part(kind, name).changes.get(own, (own,))[0] for own in ("params", "tokens")],
            "resources": [name],
        },
        "penalties": lambda: {"law": "additive", "penalties": [name]},
        "responses": lambda: {"law": "additive", "responses": {name: noise[part(kind, name).kind]}},
        "noise": lambda: {"law": "additive", "responses": {response[part(kind, name).kind]: name}},
        "discrepancies": lambda: {"law": "additive", "discrepancy": [name]},
        "pooling": lambda: {"law": "additive", "pooling": {"default": "none", "alpha_N": name}},
    }[kind]()


def changed(of: Part) -> dict[str, Any]:
    """Fields that are all twice what they are by default, or the first of their names."""
    return {field: default[:1] if isinstance(default, tuple) else 2 * default
            for field, default in of.defaults().items()}  # fmt: skip


def spelled(path: Path) -> set[str]:
    """Texts that a module holds, pieces of formatted ones among them, docstrings aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documented)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_no_room_but_pooling_spells_the_suffix_of_a_site() -> None:
    """They ask the way of pooling: a suffix that is spelled twice is changed once."""
    suffixes = {site.name.removeprefix("theta") for kind, name in NAMED if kind == "pooling"
                for site in part(kind, name).sites("theta")} - {""}  # fmt: skip
    assert {"_center", "_coordinate", "_text"} <= suffixes
    home = Path(bs.__file__).parent
    found = {str(path.relative_to(home)): spelled(path) for path in home.rglob("*.py")}
    others = {path: texts for path, texts in found.items() if not path.startswith("parts/pooling/")}
    assert {path: texts & suffixes for path, texts in others.items() if texts & suffixes} == {}
    ends = {path: [text for text in texts if text.endswith(tuple(suffixes))] for path, texts in others.items()}
    assert {path: texts for path, texts in ends.items() if texts} == {}
    own = {"coordinates", "_location", "_log_density"}  # of discrepancies and of responses
    assert {path for path, texts in others.items() if texts & own} == {"modelling/sites.py"}


@every_part
def test_a_part_is_a_frozen_value_of_its_fields(kind: str, name: str) -> None:
    of = part(kind, name)
    assert of == type(of)() == part(kind, name, **of.defaults())
    assert part(kind, name) is of
    assert {of: 1}[type(of)()] == 1
    for attribute in (*of.defaults(), "name"):
        with pytest.raises(FrozenInstanceError):
            setattr(of, attribute, 1)
    if of.defaults():
        other = part(kind, name, **changed(of))
        assert other != of
        assert {field: getattr(other, field) for field in of.defaults()} == changed(of)


def test_no_two_parts_have_one_name() -> None:
    """A spec sets fields by the name of the part alone."""
    assert len({name for _, name in NAMED}) == len(NAMED)


@every_part
def test_fields_go_through_toml_and_are_what_is_compiled(kind: str, name: str, tmp_path) -> None:
    content, fields = content_with(kind, name), changed(part(kind, name))
    plain, spec = bs.make_spec("mine", **content), bs.make_spec("mine", **content, fields={name: fields})
    again = bs.load_spec(bs.write_spec(spec, tmp_path / "mine.toml"))
    assert again == bs.make_spec("mine", **spec.to_dict()) == spec
    assert spec.structure.part(kind, name) == spec.part(kind, name) == part(kind, name, **fields)
    assert (spec.digest == plain.digest) == (spec.structure.digest == plain.structure.digest) == (not fields)
    said_aloud = bs.make_spec("mine", **content, fields={name: part(kind, name).defaults()})
    assert said_aloud == plain
    assert "fields" not in said_aloud.to_dict()


@pytest.mark.parametrize("name", shipped.names("models"))
def test_a_shipped_spec_has_parts_as_by_default_but_for_names(name: str) -> None:
    """The domains of a mixture are those of the runs."""
    fields = [value for _, own in bs.load_spec(name).fields for _, value in own]  # of a model without parts: none
    assert all(isinstance(value, tuple) for value in fields)


@every_field
@pytest.mark.parametrize("value", [0, -1, "12", True, None, [12], float("nan"), float("inf")], ids=repr)
def test_a_value_that_is_no_positive_number_is_refused(kind: str, name: str, field: str, value: object) -> None:
    default = part(kind, name).defaults()[field]
    words = rf"(?s){field}.*{name}.*expected: an? .*its default is {re.escape(repr(default))}"
    refused = pytest.raises(SpecError, match=words)
    with refused:
        part(kind, name, **{field: value})
    with refused:
        catalogue(f"bayescale.parts.{kind}")[name](**{field: value})
    with refused:
        bs.make_spec("mine", **content_with(kind, name), fields={name: {field: value}})


COUNTS = [(kind, name, field) for kind in ("discrepancies", "penalties")
          for name, of in catalogue(f"bayescale.parts.{kind}").items()
          for field, default in of.defaults().items() if isinstance(default, int)]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "field"), COUNTS)
def test_a_count_that_would_take_all_memory_is_refused(kind: str, name: str, field: str) -> None:
    words = rf"(?s){field}.*{name}.*expected: an integer from 1 to 1000\n.*got: +1001\n.*its default is"
    for value, expected in ((1000, nullcontext()), (1001, pytest.raises(SpecError, match=words))):
        with expected:
            bs.make_spec("mine", **content_with(kind, name), fields={name: {field: value}})


@every_field
def test_an_integer_length_is_a_length_and_a_list_is_a_tuple(kind: str, name: str, field: str) -> None:
    default = part(kind, name).defaults()[field]
    if isinstance(default, int):
        with pytest.raises(SpecError, match="an integer"):
            part(kind, name, **{field: 1.5})
    elif isinstance(default, tuple):
        one, other = (bs.make_spec("mine", **content_with(kind, name), fields={name: {field: some}})
                      for some in (default[:1], list(default[:1])))  # fmt: skip
        assert one.digest == other.digest
    else:
        one, other = (bs.make_spec("mine", **content_with(kind, name), fields={name: {field: two}}) for two in (2, 2.0))
        assert one.digest == other.digest


@pytest.mark.parametrize(("fields", "words"), [
    ({"local": {"knot": 12}}, r"(?s)'local' has no field 'knot'.*knots, lengths.*did you mean 'knots'\?"),
    ({"additive": {"knots": 12}}, r"(?s)'additive' has no field 'knots'.*this part has none"),
    ({"loca": {"knots": 12}}, r"(?s)unknown part of spec 'mine': 'loca'.*did you mean 'local'\?"),
    ({"walk": {"knots": 12}}, r"unknown part of spec 'mine': 'walk'"),
    ({"local": 12}, r"(?s)fields has the wrong shape.*\{local = \{knots = 12\}\}"),
    ({"knots": 12}, r"fields has the wrong shape"),
])  # fmt: skip
def test_fields_that_no_part_has_are_refused(fields: dict, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        bs.make_spec("mine", law="additive", discrepancy=["local"], fields=fields)


def test_fewer_knots_make_a_narrower_basis(chinchilla: bs.Runs) -> None:
    content = {"law": "additive", "discrepancy": ["local"]}
    plain, few = bs.make_spec("x", **content), bs.make_spec("x", **content, fields={"local": {"knots": 12}})
    assert design(plain, chinchilla).basis["local"].shape == (len(chinchilla), Local.knots + 1)
    assert design(few, chinchilla).basis["local"].shape == (len(chinchilla), 13)


@pytest.mark.parametrize("value", [..., "12", None, True])
def test_a_field_without_a_number_by_default_is_refused_when_the_class_is_defined(value: object) -> None:
    body = {"__annotations__": {"knots": "int"}} | ({} if value is ... else {"knots": value})
    body |= {"shift": lambda self, basis, coordinates: 0.0}
    with pytest.raises(DefinitionError, match=r"(?s)field 'knots' of Broken.*knots: int = 24"):
        type("Broken", (AbstractDiscrepancy,), body)
