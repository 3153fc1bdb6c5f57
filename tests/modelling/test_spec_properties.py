"""Properties of specs that hold for any law, priors and pooling."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import bayescale as bs
from bayescale.core import shipped
from bayescale.modelling.spec import Spec

same_examples = settings(derandomize=True, database=None, deadline=None, max_examples=60)
SHIPPED = {name: spec for name in shipped.names("models") if isinstance(spec := bs.load_spec(name), Spec)}
WAYS = ("partial", "complete", "none")


@st.composite
def contents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A shipped spec, with some of its priors, spreads and ways of pooling replaced by others that are allowed."""
    name = draw(st.sampled_from(sorted(SHIPPED)))
    spec = SHIPPED[name]
    content = spec.to_dict()
    parameters = {key: dict(own) for key, own in content.pop("parameters", {}).items()}
    pooling = dict(content.pop("pooling", {}))
    for key in draw(st.sets(st.sampled_from(sorted(spec.parameters)), max_size=4)):
        prior = spec.parameters[key].prior
        low, high = prior.interval()
        if type(prior).__name__ in ("Normal", "LogNormal", "LogitNormal"):
            at, scale = draw(st.floats(0, 1)), draw(st.floats(0.01, 3))
            place = {"kind": type(prior).__name__, "median": low + at * (high - low), "scale": scale}
            parameters[key] = {"prior": place, "spread": scale * draw(st.floats(0.01, 0.99))}
    for key in draw(st.sets(st.sampled_from(sorted(spec.parameters)), max_size=4)):
        pooling[key] = parameters.setdefault(key, {})["pooling"] = draw(st.sampled_from(WAYS))
    return name, {**content, "parameters": parameters, "pooling": pooling}


def reversed_all(value: Any) -> Any:
    """The same tables, with their keys in the opposite order."""
    return {key: reversed_all(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


@same_examples
@given(made=contents())
def test_a_spec_is_the_same_once_written_and_read(made: tuple[str, dict[str, Any]]) -> None:
    name, content = made
    spec = bs.make_spec("own", **content)
    with TemporaryDirectory() as folder:
        read = bs.load_spec(bs.write_spec(spec, Path(folder) / "own.toml"))
    assert (read.digest, read.to_dict()) == (spec.digest, spec.to_dict())
    assert list(spec.parameters) == list(SHIPPED[name].parameters)


@same_examples
@given(made=contents())
def test_the_order_of_parameters_and_the_name_do_not_matter(made: tuple[str, dict[str, Any]]) -> None:
    _, content = made
    turned = {**content, **{key: reversed_all(content[key]) for key in ("parameters", "pooling")}}
    assert bs.make_spec("other", **turned).digest == bs.make_spec("own", **content).digest


@same_examples
@given(made=contents(), data=st.data())
def test_another_prior_is_another_spec(made: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    _, content = made
    spec = bs.make_spec("own", **content)
    key = data.draw(st.sampled_from(sorted(spec.parameters)))
    setting = spec.parameters[key]
    moved = {**content["parameters"].get(key, {}), "spread": setting.spread * 0.5}
    other = bs.make_spec("own", **{**content, "parameters": {**content["parameters"], key: moved}})
    assert other.digest != spec.digest
    assert other.parameters[key].spread == setting.spread * 0.5
    assert {k: v for k, v in other.parameters.items() if k != key} == {
        k: v for k, v in spec.parameters.items() if k != key
    }
