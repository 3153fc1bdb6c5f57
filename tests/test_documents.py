"""What the documents show is run, and what they point to exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.parts.base import AbstractLaw

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(name), re.DOTALL | re.MULTILINE)


def run(name: str, code: list[str]) -> dict:
    """Run blocks in one namespace, as a reader would."""
    names: dict = {"__name__": "document"}
    for block in code:
        exec(compile(block, name, "exec"), names)
    return names


def test_the_python_of_the_readme_runs_and_its_fit_converges(capsys) -> None:
    names = run("README.md", blocks("README.md", "python"))
    assert names["fit"].converged
    assert names["forecast"].verdict.ok
    printed = capsys.readouterr().out
    shown = [line for block in blocks("README.md", "text") for line in block.splitlines() if line.strip() != "…"]
    # Digits differ between machines; words and layout do not.
    words = {re.sub(r"[\d.+e]+", "#", line.partition(":")[0]).split()[0] for line in shown}
    assert words <= {
        re.sub(r"[\d.+e]+", "#", line.partition(":")[0]).split()[0] for line in printed.splitlines() if line
    }


def test_the_table_of_the_readme_is_a_table_of_runs(tmp_path) -> None:
    (content,) = blocks("README.md", "csv")
    path = tmp_path / "ours.csv"
    path.write_text(content)
    runs = bs.load_runs(path)
    assert runs.families == ["ours"]
    assert runs.flops_assumed
    bs.model(bs.load_spec("additive"), runs)  # enough runs, and not on a ray


def test_the_readme_lists_every_command() -> None:
    listed = set(re.findall(r"^\| `bayescale (\w+)", text_of("README.md"), re.MULTILINE))
    assert listed == set(main.commands)


@pytest.mark.parametrize("command", [line for block in blocks("CONTRIBUTING.md", "console") for line in
                                     re.findall(r"^\$ bayescale (show .*)$", block, re.MULTILINE)])  # fmt: skip
def test_a_command_that_contributing_shows_is_understood(command: str) -> None:
    shown = CliRunner().invoke(main, command.split()[:2])
    assert shown.exit_code == 0


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_leads_to_a_file(name: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", text_of(name)):
        assert target.startswith("https://") or (ROOT / target).is_file(), target


def test_the_law_of_contributing_is_one() -> None:
    names = run("CONTRIBUTING.md", blocks("CONTRIBUTING.md", "python")[:1])
    (law,) = [x for x in names.values() if isinstance(x, type) and issubclass(x, AbstractLaw) and x is not AbstractLaw]
    medians = {name: jnp.asarray(row.prior.median) for name, row in law.parameters.items()}
    at_anchor = law.log_loss(*[jnp.zeros(())] * len(law.inputs), **medians)
    np.testing.assert_allclose(at_anchor, np.log(medians["level"]), atol=1e-6)  # float32
    published = law.published(jnp.log(2e9), jnp.log(5e10), loss=jnp.log(2.7), **medians)
    assert {"E", "A", "B"} <= set(published)


@pytest.mark.parametrize("version", [tomllib.loads(text_of("pyproject.toml"))["project"]["version"]])
def test_the_changelog_tells_of_this_version(version: str) -> None:
    assert f"## {version}\n" in text_of("CHANGELOG.md")


def test_the_licence_is_whole() -> None:
    licence = text_of("LICENSE")
    assert all(f"\n   {section}. " in licence for section in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in licence
    assert "Copyright The bayescale developers" in licence
