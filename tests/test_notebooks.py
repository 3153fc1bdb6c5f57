"""Notebooks are committed as they ran, and still run."""

from __future__ import annotations

import base64
import re
import shutil
import struct
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# A path of some machine: two names after a slash that no word, tag or address precedes; or a drive.
ABSOLUTE = re.compile(r"(?<![\w:/.<~])/[\w.-]+/[\w.-]+|(?<!\w)[A-Za-z]:\\\w|~/\w")
MOST_BYTES = 1_000_000

LONG = {"benchmark_scores", "budget_decision", "model_comparison", "new_family", "planning_pilots", "public_models"}
"""Notebooks that run for minutes: `make test-slow` runs them."""
RUN = [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in NOTEBOOKS]

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def failures(notebook):
    """Errors and anything on stderr: warnings are mended, not shown."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def texts(notebook):
    """Every text that a reader sees, pictures left out."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (str(v) for kind, v in output.get("data", {}).items() if not kind.startswith("image/"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
def test_notebook_is_committed_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert failures(notebook) == []
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < MOST_BYTES


def pictures(notebook):
    """Size in pixels of every stored picture, and the size at which it is shown."""
    for cell in code(notebook):
        for output in cell.outputs:
            if drawn := output.get("data", {}).get("image/png"):
                shown = output.metadata.get("image/png", {})
                yield struct.unpack(">II", base64.b64decode(drawn)[16:24]), (shown.get("width"), shown.get("height"))


@each
def test_pictures_have_two_pixels_for_each_that_is_shown(path):
    """So that they are sharp on the screens of today."""
    for stored, shown in pictures(nbformat.read(path, as_version=4)):
        assert tuple(size // 2 for size in stored) == shown


def test_some_notebook_has_pictures():
    assert any(list(pictures(nbformat.read(path, as_version=4))) for path in NOTEBOOKS)


@each
def test_notebook_names_no_path_of_a_machine(path):
    found = [hit.group() for text in texts(nbformat.read(path, as_version=4)) for hit in ABSOLUTE.finditer(text)]
    assert found == []


@pytest.mark.parametrize("text", ["/home/someone/x.py", "in /tmp/ipykernel_1/2.py:3", r"C:\runs", "~/runs"])
def test_a_path_is_recognised(text):
    assert ABSOLUTE.search(text)


@pytest.mark.parametrize("text", ["nats/token", "https://arxiv.org/abs/2203.15556", "<td>1</td>", "1/2 and a / b"])
def test_other_slashes_are_no_paths(text):
    assert not ABSOLUTE.search(text)


@pytest.mark.parametrize("path", RUN)
def test_notebook_runs(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path))
    notebook = nbformat.read(copy, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert failures(notebook) == []
