"""What the documents show is run, what they point to exists, and their words are the glossary's."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from decimal import Decimal
from pathlib import Path

import click
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.parts.catalogue import part
from bayescale.parts.priors import LogNormal

ROOT = Path(__file__).parents[1]
README, ARCHITECTURE, CONTRIBUTING = "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"
PAGES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts)
DOCUMENTS = [README, ARCHITECTURE, CONTRIBUTING, "CHANGELOG.md", *PAGES]
LONGEST = {README: 200, ARCHITECTURE: 150}
ADD_A_PART, OWN_RUNS, GLOSSARY = "docs/how-to/add-a-part.md", "docs/how-to/your-own-runs.md", "docs/glossary.md"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", text_of(name), re.DOTALL | re.MULTILINE)


def files(name: str) -> dict[str, str]:
    """Blocks that name a file after their language, which are shown as files that a reader writes."""
    return dict(re.findall(r"^```\w+ (\w+\.\w+)\n(.*?)^```$", text_of(name), re.DOTALL | re.MULTILINE))


def prose_of(name: str) -> str:
    return prose(text_of(name))


def prose(text: str) -> str:
    """Text without code, formulas and addresses; the lines stay where they are."""
    code = re.compile(r"^```(?!\{glossary\}).*?^```$", re.DOTALL | re.MULTILINE)
    text = code.sub(lambda block: "\n" * block[0].count("\n"), text).replace("```", "")
    return re.sub(r"`[^`]*`|\]\([^)]*\)|https://\S+|arXiv:\S+", "", text)


def run(name: str, code: list[str], **names: object) -> dict:
    """Run blocks in one namespace, as a reader would."""
    names["__name__"] = "document"
    for block in code:
        exec(compile(block, name, "exec"), names)
    return names


def with_block(language: str) -> list[str]:
    return [name for name in DOCUMENTS if blocks(name, language)]


NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def is_said(shown: str, printed: str) -> bool:
    """Whether a printed line has the words of a shown one, which may break off, and its numbers.

    Machines differ in the last digits: a number may be off by 3%, or by one in its last digit.
    """
    begun = shown.removesuffix(" …")
    words, found = (" ".join(NUMBER.sub("#", line).split()) for line in (begun, printed))
    if not (found == words if begun == shown else found.startswith(words)):
        return False
    return all(
        abs(float(a) - float(b)) <= max(0.03 * float(a), 1.001 * 10.0 ** Decimal(a).as_tuple().exponent)
        for a, b in zip(NUMBER.findall(begun), NUMBER.findall(printed), strict=False)
    )


# What is shown, runs.


def test_the_python_of_the_readme_runs_and_its_fit_converges(capsys) -> None:
    names = run(README, blocks(README, "python"))
    assert names["fit"].converged
    assert names["forecast"].verdict.ok
    printed = capsys.readouterr().out
    shown = [line for block in blocks(README, "text") for line in block.splitlines() if line.strip() != "…"]
    said = [line for line in printed.splitlines() if line]
    assert [line for line in shown if not any(is_said(line, one) for one in said)] == []


@pytest.mark.parametrize("name", [page for page in with_block("python") if page not in (README, ADD_A_PART)])
def test_the_python_of_a_page_runs(name: str, chinchilla, chinchilla_fit, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in blocks(name, "csv"):
        Path("ours.csv").write_text(content)
    for file, content in files(name).items():
        Path(file).write_text(content)
    run(name, blocks(name, "python"), bs=bs, runs=chinchilla, fit=chinchilla_fit)


def test_the_law_that_is_shown_is_one() -> None:
    names = run(ADD_A_PART, blocks(ADD_A_PART, "python"))
    shown = [x for x in names.values() if isinstance(x, type) and issubclass(x, bs.AbstractLaw)]
    (law,) = [x for x in shown if x is not bs.AbstractLaw]
    medians = {name: jnp.asarray(row.prior.median) for name, row in law.parameters.items()}
    at_anchor = law.log_loss(*[jnp.zeros(())] * len(law.inputs), **medians)
    np.testing.assert_allclose(at_anchor, np.log(medians["level"]), atol=1e-6)  # float32
    published = law.published(jnp.log(2e9), jnp.log(5e10), loss=jnp.log(2.7), **medians)
    assert set(published) == set(law.quantities)


def test_the_response_and_noise_that_are_shown_are_parts(tmp_path) -> None:
    for file, content in files(ADD_A_PART).items():
        (tmp_path / file).write_text(content)
    spec = bs.load_spec(tmp_path / "rewards.toml", allow_code=True)
    assert {"top_helpful", "slope_helpful", "scatter_helpful", "top_harmless"} <= set(spec.parameters)


@pytest.mark.parametrize("name", with_block("csv"))
def test_a_table_that_is_shown_is_a_table_of_runs(name: str, tmp_path) -> None:
    for content in blocks(name, "csv"):
        path = tmp_path / "ours.csv"
        path.write_text(content)
        runs = bs.load_runs(path, loss_unit="nats")
        bs.model(bs.load_spec("default"), runs)
    assert runs.flops_assumed


def test_the_table_of_own_runs_is_enough_for_the_additive_law(tmp_path) -> None:
    (content,) = blocks(OWN_RUNS, "csv")
    path = tmp_path / "ours.csv"
    path.write_text(content)
    bs.model(bs.load_spec("additive"), bs.load_runs(path, loss_unit="nats"))  # enough runs, and not on a ray


@pytest.mark.parametrize("name", [page for page in with_block("toml") if page != ADD_A_PART])
def test_a_spec_that_is_shown_is_one(name: str, tmp_path) -> None:
    for number, content in enumerate(blocks(name, "toml")):
        path = tmp_path / f"shown{number}.toml"
        path.write_text(content)
        assert bs.load_spec(path).law == tomllib.loads(content).get("law", "")


def test_the_readme_lists_every_command() -> None:
    listed = set(re.findall(r"^\| `bayescale (\w+)", text_of(README), re.MULTILINE))
    assert listed == set(main.commands)


COMMANDS = sorted(
    {(name, line) for name in DOCUMENTS for block in blocks(name, "console")
     for line in re.findall(r"^\$ bayescale (.*)$", block, re.MULTILINE)}
)  # fmt: skip


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_a_command_that_is_shown_is_understood(name: str, line: str) -> None:
    command, words, above = main, shlex.split(line), None
    while isinstance(command, click.Group):
        # A command remembers its options of help as its first context has them from those above.
        above = click.Context(command, parent=above, **command.context_settings)
        _, words, _ = command.make_parser(above).parse_args(words)  # options before the command
        command = command.get_command(above, words.pop(0))
    command.make_context(command.name, words, parent=above)  # parses the arguments; nothing runs


def test_what_is_shown_of_show_is_listed() -> None:
    for _, line in COMMANDS:
        words = shlex.split(line)
        if words[0] == "show":
            assert CliRunner().invoke(main, words[:2]).exit_code == 0


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_target_of_make_that_is_shown_exists(name: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^\$ |`)make ([a-z][\w-]*)", text_of(name), re.MULTILINE)) <= targets


# What is pointed to, exists.


def slug(title: str) -> str:
    """Anchor of a heading, as GitHub and the site make it."""
    kept = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", title).lower())
    return kept.strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {slug(title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if target.startswith("https://"):
            continue
        address, _, anchor = target.partition("#")
        path = ROOT / os.path.normpath(Path(name).parent / address) if address else ROOT / name
        assert path.is_file() or path == ROOT / "docs/reference/api/index.rst", target  # which make docs writes
        assert not anchor or anchor in anchors(path), target


def test_every_page_is_on_the_site() -> None:
    listed = {"docs/index.md"}
    for name in PAGES:
        for block in blocks(name, "{toctree}"):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {f"{os.path.normpath(Path(name).parent / entry)}.md" for entry in entries}
    assert set(PAGES) <= listed


def named_modules(row: str) -> set[str]:
    """Modules and folders that a row of the map of the code names, whatever it says about them."""
    return set(re.findall(r"`([a-z_]+/?)`", re.sub(r"\([^()]*\)", "", row)))


MODULES = dict(re.findall(r"^\| `([a-z]+)` \| (.*`.*) \|$", text_of(ARCHITECTURE), re.MULTILINE))


@pytest.mark.parametrize("package", sorted(path.parent.name for path in ROOT.glob("bayescale/*/__init__.py")))
def test_the_map_of_the_code_names_every_module_of_a_package_and_no_other(package: str) -> None:
    inside = [path for path in (ROOT / "bayescale" / package).iterdir() if not path.name.startswith("__")]
    modules = {path.stem for path in inside if path.suffix == ".py"}
    folders = {f"{path.name}/" for path in inside if path.is_dir()}
    assert named_modules(MODULES[package]) == modules | folders


# The words.


@pytest.mark.parametrize(("name", "most"), LONGEST.items())
def test_a_document_stays_short(name: str, most: int) -> None:
    assert len(text_of(name).splitlines()) <= most


VOCABULARY = tomllib.loads(text_of("docs/vocabulary.toml"))
AVOIDED = VOCABULARY["forms"] | {
    rf"(?<![a-z]){word}(?![a-z])": instead for word, instead in VOCABULARY["words"].items()
}


def refused(name: str, text: str) -> list[str]:
    return [
        f"{name}:{number}: {match[0]!r}: write {instead}"
        for number, line in enumerate(prose(text).splitlines(), 1)
        for avoided, instead in AVOIDED.items()
        for match in re.finditer(avoided, line, re.IGNORECASE)
    ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_keeps_to_the_vocabulary(name: str) -> None:
    found = refused(name, text_of(name))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("notebooks/*.ipynb")))
def test_the_text_of_a_notebook_keeps_to_the_vocabulary(name: str) -> None:
    cells = [cell for cell in json.loads(text_of(name))["cells"] if cell["cell_type"] == "markdown"]
    found = refused(name, "\n".join("".join(cell["source"]) for cell in cells))
    assert not found, "\n".join(found)


def test_the_vocabulary_finds_what_it_is_for() -> None:
    text = "The dearest run errs together with .04, and 90 % of those that are alike, but for one. v1.2 holds 0.5%."
    found = {match[0] for avoided in AVOIDED for match in re.finditer(avoided, text, re.IGNORECASE)}
    assert found == {"dearest", "errs together", ".0", "0 %", "of those that", "alike", "but for"}


def test_a_word_of_the_glossary_has_one_line_and_is_used() -> None:
    (content,) = blocks(GLOSSARY, "{glossary}")
    lines = [line for line in content.splitlines() if line]
    terms, meanings = lines[::2], lines[1::2]
    assert all(not term.startswith(" ") for term in terms)
    assert all(meaning.startswith("  ") and meaning.endswith(".") for meaning in meanings)
    assert terms == sorted(terms, key=str.lower)
    elsewhere = " ".join(prose_of(name) for name in DOCUMENTS if name != GLOSSARY).lower()
    assert not [term for term in terms if term.lower().removesuffix("y") not in elsewhere]


# What ships with the documents.


@pytest.mark.parametrize("version", [tomllib.loads(text_of("pyproject.toml"))["project"]["version"]])
def test_the_changelog_describes_this_version(version: str) -> None:
    assert f"## {version}\n" in text_of("CHANGELOG.md")


def test_the_licence_is_complete() -> None:
    licence = text_of("LICENSE")
    assert all(f"\n   {section}. " in licence for section in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in licence
    assert "Copyright The bayescale developers" in licence


def test_the_formulas_of_the_default_have_its_priors() -> None:
    row = re.compile(r"^\| \$[^|]+\| `(\w+)` \| ([^|]+) \| ([\d.]+) \| ([\d.]+) \|", re.MULTILINE)
    shown = {name: rest for name, *rest in row.findall(text_of("docs/explanation/default-model-in-formulas.md"))}
    spec = bs.load_spec("default")
    kinds = {"LogNormal": "log-normal", "Normal": "Normal", "JohnsonSU": "Johnson's SU"}
    found = {}
    for name, setting in spec.parameters.items():
        prior = setting.prior
        above = f" above {prior.above:g}" if getattr(prior, "above", 0.0) else ""
        found[name] = [kinds[type(prior).__name__] + above, str(prior.median), str(prior.scale)]
    assert shown == found


def test_the_law_in_the_formulas_of_the_default_is_its_law() -> None:
    """The page's formula in anchor units, and E, say what the part computes."""
    level, r_A, r_B, alpha, beta, kappa, x, y = 1.1, 0.7, 0.4, 0.5, 0.6, 0.45, 0.8, -1.3
    r = r_A + r_B
    inner = (r_A * np.exp(-alpha * x) + r_B * np.exp(-beta * y)) / r
    expected = np.log(level) - np.log(1 + r) + np.log(1 + r * inner**kappa)
    values = {"level": level, "ratio_A": r_A, "ratio_B": r_B, "alpha_N": alpha, "beta_D": beta, "kappa": kappa}
    assert float(bs.load_spec("default").law_part.log_loss(x, y, **values)) == pytest.approx(expected, rel=1e-6)


def test_simulated_worlds_are_what_was_measured() -> None:
    table = pd.read_csv(ROOT / "benchmarks" / "truths.csv")
    columns = ["covers 50%", "covers 90%", "width", "crps", "bias", "expected", "realised"]
    measured = table.groupby(["spec", "times"])[columns].mean()
    page = text_of("docs/explanation/default-model.md")
    rows = re.findall(r"^\| (own law|`default`), (\d+) \| (.+) \|$", page, re.MULTILINE)
    shown = {
        (name.strip("`"), float(times)): [float(x) for x in re.split(r"[|,]", cells)] for name, times, cells in rows
    }
    assert set(shown) == set(measured.index)
    for key, figures in shown.items():
        allowed = [0.0051, 0.0051, 0.00051, 0.000051, 0.00051, 0.000051, 0.000051]
        assert np.all(np.abs(figures - measured.loc[key]) < allowed), key
    widths = table.pivot(index=["truth", "design", "world", "times"], columns="spec", values="width")
    wider = np.log(widths["default"] / widths["own law"])
    assert "1.9 times as wide as those of the own law" in page
    assert np.exp(wider.groupby("times").mean()).round(1).tolist() == [1.9] * 3
    for truth, low, high in (("additive", 2, 5), ("coupled", 0.6, 0.9), ("drift", 1.4, 3.6)):
        of = np.exp(wider[truth].groupby(["design", "times"]).mean())
        assert (round(of.min(), 1), round(of.max(), 1)) == (low, high), truth
    assert len(table) == 2 * 3 * 60
    assert table["converged"].all()


def test_what_the_parts_of_the_default_are_worth_is_what_was_measured() -> None:
    variants = {
        "the complete model": "full", "without `walk`": "no walk", "without `local`": "no local",
        "without `walk` and `local`": "no walk, no local", "without `growth`": "no growth",
        "Normal tails of `growth`": "growth with Normal tails", "the same noise at all compute": "even noise",
        "each family fitted alone": "no suites", "priors that do not move": "still priors",
        "wide priors of the law": "wide priors", "wide priors, additive law": "wide priors, additive law",
        "medians of `walk` and `local` doubled": "errors doubled", "scale of the level doubled": "wider level",
        "medians of `walk` and `local` halved": "errors halved", r"median of $\sigma$ doubled": "noise doubled",
        r"median of $\nu$ doubled": "lighter tails",
    }  # fmt: skip
    scores = ["coverage_50", "coverage_80", "coverage_90", "width_90", "crps", "bias"]
    table = pd.read_csv(ROOT / "benchmarks" / "ablation.csv")
    measured = table.groupby("variant")[scores].mean()
    page = text_of("docs/explanation/default-model-in-formulas.md")
    rows = re.findall(r"^\| ([^|]+) \| (0\.\d[^\n]+) \|$", page, re.MULTILINE)
    shown = {variants[name]: list(map(float, cells.split(" | "))) for name, cells in rows}
    assert set(shown) == set(table["variant"])
    for variant, figures in shown.items():
        np.testing.assert_allclose(figures, measured.loc[variant], atol=0.0051)
        assert figures[4] == pytest.approx(measured.loc[variant, "crps"], abs=6e-5)


def test_villalobos_2024_the_stock_of_text_has_the_quantiles_that_a_decision_is_made_at() -> None:
    """A 90% interval from a quarter of the median to four times it."""
    said = text_of("docs/how-to/other-decisions.md")
    low, high = (f"{end / 1e12:.0f}T" for end in LogNormal(300e12, np.log(4) / 1.6449).interval())
    assert f"`--unique-tokens {low}`, `300T` and `{high}`" in said


def test_ho_2024_published_rates_of_progress_are_within_the_prior_that_a_page_quotes_them_for() -> None:
    section = text_of("docs/how-to/choose-a-model.md").partition("## What a year is worth")[2].partition("\n## ")[0]
    prior = part("resources", "progress").parameters["progress"].prior
    low, high = prior.interval()
    assert f"a median of {prior.median:g} times a year, with a 90% interval of {low:.1f} to {high:.1f}" in section
    rates = [float(rate) for rate in re.findall(r"^\| ([\d.]+)", section, re.MULTILINE)]
    assert rates == [2.7, 6, 3, 3, 2.2]
    assert low < min(rates) < max(rates) < high
