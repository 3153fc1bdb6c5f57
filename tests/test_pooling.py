"""A loss that families of one evaluation text share, and what it asks of the runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import RunsError
from bayescale.reporting.pages import _prior_row


@pytest.fixture(scope="module")
def shared(pool):
    """Two families on one text, and one on another."""
    runs = pool.where(family=["OpenLM-C4", "OpenLM-RedPajama", "Datablations-C4-1epoch"])
    return runs, bs.fit(runs, "floored", seed=0)


def test_families_of_one_text_and_tokenizer_share_their_floor(shared):
    _, fit = shared
    assert fit.converged
    floor = fit.posterior["floor"].to_numpy()
    other, first, second = (floor[..., fit.families.index(f)] for f in fit.families)
    np.testing.assert_array_equal(first, second)
    assert not np.isclose(other, first).any()  # one eval set, but another tokenizer


def test_a_new_family_has_the_floor_of_its_text_where_that_was_fitted(shared, tmp_path):
    _, fit = shared
    fit = bs.load_fit(fit.save(tmp_path / "fit.nc"))
    huge = pd.DataFrame({"params": [1e40], "tokens": [1e40]})
    floor = fit.posterior["E"].sel(family="OpenLM-C4").to_numpy()

    def least(**named):
        return bs.forecast(fit, huge.assign(**named), family="new", seed=0).draws["epred"].to_numpy()[..., 0]

    np.testing.assert_allclose(least(eval_set="C4 val", tokenizer="gpt-neox"), floor, rtol=0.01)
    assert least().std() > 3 * floor.std()  # of a text not seen


def test_a_family_on_two_texts_is_refused(shared):
    runs, _ = shared
    table = runs.frame.assign(eval_set=np.where(np.arange(len(runs)) % 2, "C4 val", "wiki"))
    with pytest.raises(RunsError, match=r"(?s)evaluated on more than one text.*'wiki'.*make a family of each"):
        bs.fit(bs.load_runs(table), "floored")


def test_runs_that_name_no_text_share_no_floor(pool):
    from bayescale.modelling import texts_of

    frame = pool.where(family=["OpenLM-C4", "OpenLM-RedPajama"]).frame
    spec = bs.load_spec("floored")
    assert len(set(texts_of(spec, frame))) == 1
    assert len(set(texts_of(spec, frame.assign(tokenizer="")))) == 2
    assert texts_of(bs.load_spec("additive"), frame) == []


def test_a_report_says_how_a_text_shares(shared):
    _, fit = shared
    assert _prior_row("floored", fit, "floor")["families"] == "one for each evaluation text and tokenizer"
