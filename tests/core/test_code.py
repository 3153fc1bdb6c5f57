"""Digests of code: what is computed counts, how and where it is written does not."""

from __future__ import annotations

import importlib
import sys
import textwrap
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from numpyro.distributions import transforms

import bayescale as bs
from bayescale.core.code import _Graph, code_digest, modules_digest
from bayescale.modelling import spec as specs
from bayescale.parts.catalogue import catalogue
from bayescale.parts.priors import JohnsonSU

LAW = '''
    """A law of its own."""
    import jax.numpy as jnp
    from bayescale.parts.base import AbstractLaw, Parameter
    from bayescale.parts.priors import LogNormal

    FACTOR = 1.0

    def helper(x):
        return 2.0 * x

    class Mine(AbstractLaw):
        """One term."""

        name = "mine"
        source = "nobody"
        inputs = ("params",)
        parameters = {"level": Parameter(LogNormal(1.0, 0.3), "1", "loss at the anchor", 0.1)}

        @staticmethod
        def log_loss(params, *, level):
            return jnp.log(level) - FACTOR * helper(params)

        @staticmethod
        def published(params, *, loss, level):
            return {"E": jnp.exp(loss) * level}
'''
NUMBER = count()


@pytest.fixture
def digest(tmp_path: Path, monkeypatch):
    """Digest of the law as a module of its own holds it, after some replacements."""
    monkeypatch.syspath_prepend(tmp_path)

    def of(**replacements: str) -> str:
        text = textwrap.dedent(LAW)
        for old, new in replacements.values():
            assert old in text
            text = text.replace(old, new)
        name = f"mine_{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return code_digest(importlib.import_module(name).Mine, without=("name", "source", "parameters"))

    return of


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return jnp.log(level) - FACTOR * helper(params)", "return 2 * (jnp.log(level) - FACTOR * helper(params))"),
        ("FACTOR = 1.0", "FACTOR = 1.5"),
        ("return 2.0 * x", "return 3.0 * x"),
        ('inputs = ("params",)', 'inputs = ("tokens",)'),
    ],
    ids=["formula", "constant", "helper", "input"],
)
def test_what_is_computed_counts(digest, old: str, new: str) -> None:
    assert digest(change=(old, new)) != digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""One term."""', '"""One term, told otherwise."""'),
        ("return 2.0 * x", "return (2.0\n            * x)  # twice"),
        ("def helper(x):", "def helper(x: float) -> float:"),
        ('source = "nobody"', 'source = "somebody"'),
        ('"loss at the anchor"', '"loss of the reference run"'),
        ("import jax.numpy as jnp\n", "import math\nimport jax.numpy as jnp\n"),
    ],
    ids=["docstring", "layout", "annotation", "source", "meaning", "import"],
)
def test_how_it_is_written_does_not_count(digest, old: str, new: str) -> None:
    assert digest(change=(old, new)) == digest()


def test_where_it_is_written_does_not_count(digest) -> None:
    assert digest() == digest()  # in modules of other names


def test_a_class_without_a_source_has_the_digest_of_its_byte_code() -> None:
    def law(factor: str) -> type:
        names: dict = {"__name__": "nowhere"}
        exec(f"class Mine:\n    @staticmethod\n    def log_loss(x):\n        return {factor} * x\n", names)
        return names["Mine"]

    assert code_digest(law("2.0")) == code_digest(law("2.0")) != code_digest(law("3.0"))
    assert "nowhere" not in sys.modules


@pytest.mark.parametrize("kind", ["laws", "noise", "responses", "pooling"])
def test_the_digest_of_a_spec_covers_the_code_of_each_kind_of_part(kind: str, monkeypatch) -> None:
    before, own = bs.make_spec("mine", law="additive").digest, specs._code_of
    of_kind = catalogue(f"bayescale.parts.{kind}").values()
    monkeypatch.setattr(specs, "_code_of", lambda part: own(part) + ("changed" if type(part) in of_kind else ""))
    assert bs.make_spec("mine", law="additive").digest != before


BASES = '''
    from abc import ABC, abstractmethod

    class Base(ABC):
        def twice(self, x):
            return 2.0 * self.one(x)

        @abstractmethod
        def one(self, x):
            """What is doubled."""

    class Child(Base):
        def one(self, x):
            if x > 99:
                raise ValueError("too large")
            return 3.0 * x

    def made(factor):
        class Made:
            @staticmethod
            def one(x):
                return factor * x
        return Made
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch):
    """A module of its own, with text replaced."""
    monkeypatch.syspath_prepend(tmp_path)

    def of(old: str = "", new: str = ""):
        name = f"mine_{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(BASES).replace(old or "\0", new), encoding="utf-8")
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return of


def test_what_is_inherited_from_an_abstract_class_counts(module) -> None:
    assert code_digest(module("2.0 * self", "4.0 * self").Child) != code_digest(module().Child)


def test_the_wording_of_an_error_does_not_count(module) -> None:
    assert code_digest(module("too large", "expected at most 99").Child) == code_digest(module().Child)


def test_what_a_class_was_made_with_counts(module) -> None:
    made = module().made
    assert code_digest(made(1.0)) == code_digest(made(1.0)) != code_digest(made(2.0))


def test_the_fields_of_an_instance_count_and_its_prose_does_not() -> None:
    one, other = bs.LogNormal(1.0, 0.3), bs.LogNormal(2.0, 0.3)
    assert code_digest(one) == code_digest(bs.LogNormal(1.0, 0.3)) != code_digest(other)
    assert code_digest(one, without=("median",)) == code_digest(other, without=("median",))


def test_a_constant_of_a_class_without_a_source_counts() -> None:
    def law(factor: float) -> type:
        names: dict = {"__name__": "nowhere", "FACTOR": factor}
        exec("class Mine:\n    @staticmethod\n    def log_loss(x):\n        return FACTOR * x\n", names)
        return names["Mine"]

    assert code_digest(law(1.0)) == code_digest(law(1.0)) != code_digest(law(2.0))


def test_a_digest_holds_nothing_that_differs_between_versions_of_python(module) -> None:
    """Python 3.13 dumps syntax trees without empty fields, Python 3.12 with them; byte code differs each time."""
    text = "\n".join(_Graph((module().Child, bs.LogNormal)).texts())
    assert "[]" not in text.replace("class []", "")
    assert "ctx" not in text
    assert "co_code" not in text


@pytest.mark.parametrize("prior", [bs.LogitNormal, JohnsonSU])
def test_the_formula_of_a_prior_counts(prior: type, monkeypatch) -> None:
    def spec() -> bs.Spec:
        return bs.make_spec("mine", law="additive").with_prior(alpha_N=prior(0.4, 0.2))

    before = spec().digest
    monkeypatch.setattr(prior, "_at", lambda self, loc, scale: transforms.SoftplusTransform())
    specs._code_of.cache_clear()
    assert spec().digest != before
    specs._code_of.cache_clear()


def test_the_flags_of_a_parameter_count_and_its_prose_does_not(monkeypatch) -> None:
    law = catalogue("bayescale.parts.laws")["additive"]
    row, before = law.parameters["ratio_A"], code_digest(law, without=specs._PROSE)
    for change, same in (({"at_anchor": False}, False), ({"meaning": "other words", "source": "nobody"}, True)):
        monkeypatch.setattr(law, "parameters", law.parameters | {"ratio_A": replace(row, **change)})
        assert (code_digest(law, without=specs._PROSE) == before) == same
        monkeypatch.undo()


def test_modules_have_one_digest_in_whatever_order_and_with_whatever_remarks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in {
        "eng_a": "X = 1\n",
        "eng_b": "def f(x: int):\n    'Doc.'\n    return x\n",
        "eng_c": "import math\n\n# both\ndef f(x):\n    return x\n\nX = 1\n",
        "eng_d": "def f(x):\n    return -x\nX = 1\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    assert modules_digest("eng_a", "eng_b") == modules_digest("eng_b", "eng_a") == modules_digest("eng_c")
    assert modules_digest("eng_c") != modules_digest("eng_d")
