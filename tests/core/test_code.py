"""Digests of code: what is computed counts, how and where it is written does not."""

from __future__ import annotations

import importlib
import sys
import textwrap
from itertools import count
from pathlib import Path

import pytest

import bayescale as bs
from bayescale.core.code import code_digest
from bayescale.modelling import spec as specs

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
    monkeypatch.setattr(specs, "_code_of", lambda of, name: own(of, name) + ("changed" if of == kind else ""))
    assert bs.make_spec("mine", law="additive").digest != before
