"""A budget in dollars, hours or days stays what was asked for, in every verb that reads it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.cli.options import Bought, Budget, spending

DOLLARS = "2M dollars @ 512xH100"
KNOWN = ("flops", "dollars", "days", "hardware")


def test_a_budget_is_a_setting_in_its_own_unit_where_the_decision_has_it() -> None:
    bought = Budget().convert(DOLLARS, None, None)
    assert isinstance(bought, Bought)
    assert spending(bought, KNOWN) == {"dollars": 2e6, "hardware": "512xH100"}
    assert spending(bought, ("flops", "hardware")) == {"flops": float(bought), "hardware": "512xH100"}
    assert spending(bought, ("flops",)) == {"flops": float(bought)}
    days = Budget().convert("30 days @ 8xH100", None, None)
    assert spending(days, KNOWN, "8xH100") == {"days": 30.0, "hardware": "8xH100"}
    hours = Budget().convert("50k gpu-hours @ H100", None, None)
    assert spending(hours, KNOWN) == {"flops": float(hours), "hardware": "H100"}
    assert spending(1e23, KNOWN, "H100") == {"flops": 1e23, "hardware": "H100"}
    assert spending(None, KNOWN) == {}
    with pytest.raises(click.UsageError, match="--flops is on 512xH100, and --hardware is A100"):
        spending(bought, KNOWN, "A100")


@pytest.mark.slow
def test_a_report_of_dollars_is_in_dollars(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    saved, page = chinchilla_fit.save(tmp_path / "fit.nc"), tmp_path / "page.json"
    command = ["report", str(saved), "--out", str(page), "--flops", DOLLARS]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(page.read_text(encoding="utf-8"))
    assert "$2.00M on 512xH100" in found["headline"]
    assert shlex.split(found["command"])[1:] == command
    (cost,) = [one for one in found["cards"] if one["name"] == "cost"]
    assert "H100-days" in cost["value"]
    assert "$2.00M" in cost["range"]
    assert found["decision"]["cost"]["dollars"]["q50"] == pytest.approx(2e6)
    refused = CliRunner().invoke(main, [*command, "--hardware", "A100"])
    assert refused.exit_code == 2
    assert "give one of them" in refused.stderr


def test_decide_spends_dollars_as_dollars(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    saved = chinchilla_fit.save(tmp_path / "fit.nc")
    done = CliRunner().invoke(main, ["decide", "allocation", str(saved), "--flops", DOLLARS, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    spent = bs.Allocation(dollars=2e6, hardware="512xH100").spent(chinchilla_fit)
    assert found["flops"] == pytest.approx(float(np.median(spent)))
    assert found["flops_interval"]["q05"] < found["flops"] < found["flops_interval"]["q95"]
