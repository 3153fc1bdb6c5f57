"""Specs as plain data: shipped and custom, their digest, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.errors import SpecError, UnknownName
from bayescale.modelling import design
from bayescale.modelling.spec_io import write_spec

NAMES = shipped.names("models")


@pytest.fixture
def additive() -> bs.Spec:
    return bs.load_spec("additive")


def from_text(text: str, folder: Path, name: str = "mine") -> bs.Spec:
    """Load a spec from a file of this text."""
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return bs.load_spec(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_spec_loads_by_name_and_by_path(name: str) -> None:
    spec = bs.load_spec(name)
    assert spec.name == name
    assert spec.title != name
    assert bs.load_spec(shipped.folder("models") / f"{name}.toml") == spec


def test_shipped_specs_are_different_models() -> None:
    assert len({bs.load_spec(name).digest for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_spec_resolves_every_parameter_of_its_tables(name: str) -> None:
    spec = bs.load_spec(name)
    assert list(spec.parameters) == list(spec.table)
    for parameter, setting in spec.parameters.items():
        assert setting.spread > 0
        assert spec.table[parameter].meaning


@pytest.mark.parametrize("name", NAMES)
def test_plain_data_make_the_same_spec(name: str) -> None:
    spec = bs.load_spec(name)
    data = json.loads(json.dumps(spec.to_dict()))
    again = bs.make_spec("again", title="another title", **data)
    assert again.digest == spec.digest
    assert again.settings == spec.settings
    assert again.columns == spec.columns
    assert again.to_dict() == spec.to_dict()


@pytest.mark.parametrize("name", NAMES)
def test_a_digest_does_not_change_with_layout_title_or_file_name(name: str, tmp_path: Path) -> None:
    spec = bs.load_spec(name)
    lines = (shipped.folder("models") / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    kept = [line.replace(" = ", "   =  ") + "  # a remark" if " = " in line else line for line in lines]
    retitled = ['title = "Other"', "", *(line for line in kept if not line.startswith("title"))]
    assert from_text("\n".join(retitled), tmp_path, "other").digest == spec.digest


def test_a_digest_does_not_change_with_defaults_said_aloud_or_order(additive: bs.Spec, tmp_path: Path) -> None:
    text = """
    [parameters.beta_D]
    prior = {scale = 0.35, kind = "LogNormal", above = 0, median = 0.33}
    [parameters.alpha_N]
    pooling = "partial"
    [pooling]
    sigma = "partial"
    default = "partial"
    [responses]
    loss = "student-t"
    """
    written = from_text('inputs = ["params", "tokens"]\nlaw = "additive"\n' + text, tmp_path)
    assert written.digest == additive.digest == from_text('law = "additive"', tmp_path, "least").digest


@pytest.mark.parametrize(
    "text",
    [
        '[parameters.alpha_N]\nprior = {kind = "LogNormal", median = 0.34, scale = 0.35}',
        '[parameters.alpha_N]\nprior = {kind = "LogNormal", median = 0.33, scale = 0.36}',
        '[parameters.alpha_N]\nprior = {kind = "LogitNormal", median = 0.33, scale = 0.35}',
        '[parameters.alpha_N]\nprior = {kind = "LogNormal", median = 0.33, scale = 0.35, above = 0.1}',
        "[parameters.alpha_N]\nspread = 0.2",
        '[parameters.alpha_N]\npooling = "complete"',
        '[pooling]\ndefault = "none"',
        '[pooling]\nsigma = "complete"',
        '[responses]\nloss = "gaussian"',
        'resources = ["repetition"]',
        'inputs = ["active_params", "tokens"]',
    ],
)
def test_another_model_has_another_digest(text: str, additive: bs.Spec, tmp_path: Path) -> None:
    assert from_text('law = "additive"\n' + text, tmp_path).digest != additive.digest


def test_a_parameter_is_set_as_the_file_says(tmp_path: Path) -> None:
    spec = from_text(
        """
        law = "additive"
        [pooling]
        default = "none"
        sigma = "complete"
        [parameters.alpha_N]
        prior = {kind = "Normal", median = 0.5, scale = 0.1}
        spread = 0.05
        pooling = "partial"
        """,
        tmp_path,
    )
    alpha = spec.parameters["alpha_N"]
    assert (alpha.prior, alpha.spread, alpha.pooling) == (bs.Normal(0.5, 0.1), 0.05, "partial")
    assert spec.parameters["sigma"].pooling == "complete"
    assert spec.parameters["beta_D"].pooling == "none"
    assert spec.parameters["beta_D"].prior == spec.table["beta_D"].prior


def test_with_prior_changes_that_prior_alone(additive: bs.Spec) -> None:
    other = additive.with_prior(alpha_N=bs.LogNormal(0.5, 0.1))
    assert other.parameters["alpha_N"].prior == bs.LogNormal(0.5, 0.1)
    assert other.parameters["alpha_N"].spread == additive.parameters["alpha_N"].spread
    assert {n: s for n, s in other.settings if n != "alpha_N"} == {n: s for n, s in additive.settings if n != "alpha_N"}
    assert other.digest != additive.digest
    assert additive == bs.load_spec("additive")


def test_with_the_prior_that_was_there_it_is_the_same_model(additive: bs.Spec) -> None:
    same = additive.with_prior(alpha_N=additive.parameters["alpha_N"].prior)
    assert same.digest == additive.digest
    assert hash(same) == hash(additive)


def test_with_prior_of_an_unknown_parameter_names_the_nearest(additive: bs.Spec) -> None:
    with pytest.raises(SpecError, match="did you mean 'beta_D'"):
        additive.with_prior(beta=bs.LogNormal(0.5, 0.1))


def test_columns_are_those_that_the_parts_read(additive: bs.Spec) -> None:
    assert set(additive.columns) == {"params", "tokens", "loss"}
    assert "unique_tokens" in bs.load_spec("repetition").columns
    assert {"n_items", "n_correct", "chance"} <= set(bs.load_spec("accuracy").columns)
    assert set(bs.make_spec("compute", law="power", inputs=["tokens"]).columns) == {"tokens", "loss"}


MOVING = {
    "law": "additive",
    "reference": {"params": 1e8, "tokens": 1e9},
    "parameters": {
        "ratio_A": {
            "prior": {"kind": "LogNormal", "median": 0.5, "scale": 0.3},
            "trend": {
                "slopes": {"params": -0.5, "tokens": 0.25},
                "covariance": [[0.04, -0.03], [-0.03, 0.05]],
                "before": 0.35,
            },
        }
    },
}


def test_a_prior_with_a_trend_moves_with_the_anchor_and_widens() -> None:
    spec = bs.make_spec("moving", **MOVING)
    here, there = spec.at({"params": 1e8, "tokens": 1e9}), spec.at({"params": 1e8 * np.e**2, "tokens": 1e9 * np.e})
    assert here.parameters["ratio_A"].prior.median == pytest.approx(0.5)
    assert here.parameters["ratio_A"].prior.scale == 0.3
    moved = there.parameters["ratio_A"].prior
    assert moved.median == pytest.approx(0.5 * np.exp(-0.5 * 2 + 0.25))
    assert moved.scale == pytest.approx(np.sqrt(0.3**2 + 0.04 * 4 - 2 * 0.03 * 2 + 0.05))
    replaced = spec.with_prior(ratio_A=bs.LogNormal(0.5, 0.3)).at({"params": 1e10, "tokens": 1e12})
    assert replaced.parameters["ratio_A"].prior.median == pytest.approx(0.5)
    assert there.parameters["ratio_B"] == spec.parameters["ratio_B"]
    assert not there.reference
    assert spec.structure == bs.load_spec("additive").structure  # of one program: places are data
    assert spec.digest != bs.make_spec("still", **{k: v for k, v in MOVING.items() if k == "law"}).digest


RANGE = {"params": [1e7, 1e9], "tokens": [1e8, 1e10]}


def test_beyond_the_range_of_a_trend_a_prior_stays_and_widens_with_the_distance() -> None:
    spec = bs.make_spec("moving", **MOVING, range=RANGE)
    edge, far, inside = ({"params": np.log(params), "tokens": np.log(tokens)}
                         for params, tokens in ((1e9, 1e10), (1e9 * np.e**3, 1e10 * np.e**4), (2e8, 3e8)))  # fmt: skip
    assert spec.places(inside) == bs.make_spec("moving", **MOVING).places(inside)
    assert spec.outside(inside) == {"params": 0.0, "tokens": 0.0}
    assert spec.outside(far) == pytest.approx({"params": 3.0, "tokens": 4.0})
    assert spec.outside({"params": np.log(1e6), "tokens": np.log(1e9)})["params"] == pytest.approx(-np.log(10))
    (loc, scale), (farther, wider) = (spec.places(at)["ratio_A"] for at in (edge, far))
    assert farther == pytest.approx(loc)
    assert wider == pytest.approx(np.hypot(scale, 0.35 * 5.0))
    moved = spec.at({column: float(np.exp(value)) for column, value in far.items()})
    assert moved.parameters["ratio_A"].prior.scale == pytest.approx(wider)
    assert not moved.range
    assert spec.places(far)["alpha_N"] == spec.places(edge)["alpha_N"]  # no trend, which could not hold there
    assert spec.structure == bs.load_spec("additive").structure
    assert spec.digest != bs.make_spec("moving", **MOVING).digest
    assert spec.digest != bs.make_spec("moving", **MOVING, range=RANGE | {"tokens": [1e8, 2e10]}).digest


def test_a_range_written_is_the_range_read(tmp_path) -> None:
    spec = bs.make_spec("moving", **MOVING, range=RANGE)
    again = bs.load_spec(write_spec(spec, tmp_path / "moving.toml"))
    assert again.range == spec.range == (("params", (1e7, 1e9)), ("tokens", (1e8, 1e10)))
    assert again.digest == spec.digest


def test_a_fit_has_the_priors_of_its_own_anchor(chinchilla: bs.Runs) -> None:
    spec = bs.make_spec("moving", **MOVING)
    points = design.design(spec, chinchilla)
    anchor = {column: float(np.exp(value)) for column, value in points.anchor.items()}
    at = spec.at(anchor).parameters["ratio_A"].prior
    assert points.priors["ratio_A"] == (pytest.approx(at.loc), pytest.approx(at.scale))
    assert points.priors["ratio_A"][0] != spec.parameters["ratio_A"].prior.loc


LAW = {"law": "additive"}
WITH = {"kind": "LogNormal", "median": 0.3, "scale": 0.3}
BAD: dict[str, tuple[dict, type[Exception], tuple[str, ...]]] = {
    "misspelt key": (LAW | {"polling": {}}, SpecError, ("'polling'", "did you mean 'pooling'?")),
    "far key": (LAW | {"zzz": 1}, SpecError, ("'zzz'", "choose one of", "responses")),
    "no law": ({"title": "none"}, SpecError, ("no law", 'law = "additive"')),
    "misspelt law": ({"law": "couple"}, UnknownName, ("'couple'", "did you mean 'coupled'?")),
    "law as a number": ({"law": 3}, SpecError, ("law", "3")),
    "misspelt input": (LAW | {"inputs": ["parms", "tokens"]}, SpecError, ("'parms'", "did you mean 'params'?")),
    "too few inputs": (LAW | {"inputs": ["params"]}, SpecError, ("inputs", "2 of:", "['params']")),
    "too many inputs": ({"law": "power", "inputs": ["flops", "step"]}, SpecError, ("inputs", "1 of:", "'step'")),
    "inputs as text": ({"law": "power", "inputs": "flops"}, SpecError, ("inputs", "'flops'")),
    "misspelt resource": (LAW | {"resources": ["repetitions"]}, UnknownName, ("did you mean 'repetition'?",)),
    "resources as text": (LAW | {"resources": "repetition"}, SpecError, ("resources", "'repetition'")),
    "resource without a balance": (
        {"law": "drift", "resources": ["repetition"]}, SpecError, ("'repetition'", "balance", "'drift'", "additive"),
    ),
    "resource on a law of one input": (
        {"law": "power", "resources": ["repetition"]}, SpecError, ("'repetition'", "'power'"),
    ),
    "no responses": (LAW | {"responses": {}}, SpecError, ("observes nothing", "student-t")),
    "misspelt response": (LAW | {"responses": {"los": "laplace"}}, UnknownName, ("'los'", "did you mean 'loss'?")),
    "misspelt noise": (LAW | {"responses": {"loss": "student"}}, UnknownName, ("did you mean 'student-t'?",)),
    "noise of counts on a loss": (
        LAW | {"responses": {"loss": "binomial"}}, SpecError, ("'binomial'", "'loss'", "student-t", "gaussian"),
    ),
    "noise of losses on a count": (
        LAW | {"responses": {"accuracy": "gaussian"}}, SpecError, ("'gaussian'", "'accuracy'", "beta-binomial"),
    ),
    "noise as a table": (LAW | {"responses": {"loss": {"kind": "laplace"}}}, SpecError, ("loss", "laplace")),
    "responses as text": (LAW | {"responses": "loss"}, SpecError, ("responses", "'loss'")),
    "misspelt pooling": (
        LAW | {"pooling": {"alpha_N": "partly"}}, SpecError, ("'partly'", "alpha_N", "did you mean 'partial'?"),
    ),
    "misspelt default pooling": (
        LAW | {"pooling": {"default": "partly"}}, SpecError, ("default", "'partly'", "did you mean 'partial'?"),
    ),
    "pooling of an unknown parameter": (
        LAW | {"pooling": {"alpha_n": "none"}}, SpecError, ("'alpha_n'", "did you mean 'alpha_N'?"),
    ),
    "pooling as text": (LAW | {"pooling": "none"}, SpecError, ("pooling", "'none'")),
    "pooling as a list": (LAW | {"pooling": {"alpha_N": ["none"]}}, SpecError, ("alpha_N", "['none']")),
    "misspelt parameter": (
        LAW | {"parameters": {"ratio_a": {}}}, SpecError, ("'ratio_a'", "did you mean 'ratio_A'?"),
    ),
    "parameter of another law": (
        LAW | {"parameters": {"kappa": {}}}, SpecError, ("'kappa'", "choose one of", "alpha_N"),
    ),
    "parameter as a number": (LAW | {"parameters": {"alpha_N": 0.3}}, SpecError, ("alpha_N", "0.3")),
    "misspelt setting": (
        LAW | {"parameters": {"alpha_N": {"piror": WITH}}}, SpecError,
        ("'piror'", "'alpha_N'", "did you mean 'prior'?"),
    ),
    "trend without a reference": (
        {k: v for k, v in MOVING.items() if k != "reference"}, SpecError,
        ("'ratio_A'", "no reference", "params, tokens"),
    ),
    "reference of one input": (
        MOVING | {"reference": {"params": 1e8}}, SpecError, ("reference", "params, tokens", "100000000"),
    ),
    "reference of nothing": (
        MOVING | {"reference": {"params": 0, "tokens": 1e9}}, SpecError, ("reference", "positive", "0"),
    ),
    "range of one input": (
        MOVING | {"range": {"params": [1e7, 1e9]}}, SpecError, ("range", "params, tokens", "10000000.0"),
    ),
    "range without the reference in it": (
        MOVING | {"range": RANGE | {"params": [1e9, 1e10]}}, SpecError, ("range", "between", "1000000000.0"),
    ),
    "range that is not two numbers": (
        MOVING | {"range": RANGE | {"params": [1e7]}}, SpecError, ("range", "smallest and largest", "10000000.0"),
    ),
    "range without a reference": (LAW | {"range": RANGE}, SpecError, ("range", "a reference", "10000000.0")),
    "trend without what was known before": (
        MOVING | {"parameters": {"ratio_A": {"trend": {"slopes": {"params": 1.0}, "covariance": [[0.1]]}}}}, SpecError,
        ("'ratio_A'", "before = 0.35"),
    ),
    "trend as a number": (
        MOVING | {"parameters": {"ratio_A": {"trend": {"params": -0.5}}}}, SpecError, ("'ratio_A'", "slopes ="),
    ),
    "trend of no covariance": (
        MOVING | {"parameters": {"ratio_A": {"trend": {"slopes": {"params": 1.0}, "covariance": [[-0.1]]}}}}, SpecError,
        ("'ratio_A'", "covariance ="),
    ),
    "misspelt prior": (
        LAW | {"parameters": {"alpha_N": {"prior": WITH | {"kind": "lognormal"}}}}, SpecError,
        ("'lognormal'", "'alpha_N'", "did you mean 'LogNormal'?"),
    ),
    "prior without a kind": (
        LAW | {"parameters": {"alpha_N": {"prior": {"median": 1, "scale": 1}}}}, SpecError,
        ("'alpha_N'", "kind", "LogNormal"),
    ),
    "prior with a misspelt field": (
        LAW | {"parameters": {"alpha_N": {"prior": {"kind": "Normal", "mean": 1, "scale": 1}}}}, SpecError,
        ("'alpha_N'", "mean", "median"),
    ),
    "prior as text": (LAW | {"parameters": {"alpha_N": {"prior": "LogNormal"}}}, SpecError, ("alpha_N", "median")),
    "median as text": (
        LAW | {"parameters": {"alpha_N": {"prior": WITH | {"median": "big"}}}}, SpecError, ("'alpha_N'", "'big'"),
    ),
    "median of a LogNormal below 0": (
        LAW | {"parameters": {"alpha_N": {"prior": WITH | {"median": -0.3}}}}, SpecError,
        ("alpha_N", "LogNormal", "-0.3"),
    ),
    "median of a LogNormal below its end": (
        LAW | {"parameters": {"nu": {"prior": WITH | {"median": 1.5, "above": 2}}}}, SpecError, ("nu", "1.5"),
    ),
    "median of a LogitNormal above 1": (
        LAW | {"parameters": {"alpha_N": {"prior": WITH | {"kind": "LogitNormal", "median": 1.2}}}}, SpecError,
        ("alpha_N", "LogitNormal", "1.2", "between 0 and 1"),
    ),
    "no finite median": (
        LAW | {"parameters": {"alpha_N": {"prior": {"kind": "Normal", "median": float("nan"), "scale": 1}}}},
        SpecError, ("alpha_N", "nan", "finite"),
    ),
    "scale 0": (
        LAW | {"parameters": {"alpha_N": {"prior": WITH | {"scale": 0}}}}, SpecError, ("alpha_N", "0", "positive"),
    ),
    "infinite scale": (
        LAW | {"parameters": {"alpha_N": {"prior": WITH | {"scale": float("inf")}}}}, SpecError,
        ("alpha_N", "inf", "finite"),
    ),
    "spread 0": (LAW | {"parameters": {"alpha_N": {"spread": 0}}}, SpecError, ("'alpha_N'", "positive", "0")),
    "negative spread": (
        LAW | {"parameters": {"alpha_N": {"spread": -0.1}}}, SpecError, ("'alpha_N'", "positive", "-0.1"),
    ),
    "spread as text": (LAW | {"parameters": {"alpha_N": {"spread": "wide"}}}, SpecError, ("'alpha_N'", "'wide'")),
    "spread NaN": (LAW | {"parameters": {"alpha_N": {"spread": float("nan")}}}, SpecError, ("'alpha_N'", "nan")),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_spec_is_refused_naming_what_was_wanted(fault: str) -> None:
    content, error, fragments = BAD[fault]
    with pytest.raises((SpecError, UnknownName)) as caught:
        bs.make_spec("mine", **content)
    assert isinstance(caught.value, error)
    assert [fragment for fragment in fragments if fragment not in str(caught.value)] == []


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"mine\.toml is not TOML\n.*line 2"):
        from_text('law = "additive"\nresponses = = 3', tmp_path)


def test_a_binary_file_is_no_spec(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(bytes(range(128, 256)))
    with pytest.raises(SpecError, match=r"mine\.toml is not TOML"):
        bs.load_spec(tmp_path / "mine.toml")


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises((SpecError, UnknownName), match=r"mine\.toml"):
        bs.load_spec(tmp_path / "mine.toml")


def test_a_key_that_is_said_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"mine\.toml is not TOML"):
        from_text('law = "additive"\nlaw = "coupled"', tmp_path)


def test_a_name_in_the_file_is_refused_as_an_unknown_key(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'name'"):
        from_text('name = "mine"\nlaw = "additive"', tmp_path)


def test_an_absent_file_and_an_unknown_name_say_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no spec at .*mine\.toml"):
        bs.load_spec(tmp_path / "mine.toml")
    with pytest.raises(UnknownName, match="did you mean 'coupled'"):
        bs.load_spec("coupld")
