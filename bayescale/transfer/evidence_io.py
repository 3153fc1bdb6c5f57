"""Evidence files: what each family's runs say about priors. With them, learning without some families needs no fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bayescale.core import shipped
from bayescale.core import toml as recording
from bayescale.modelling.grouping import members
from bayescale.modelling.spec import Spec
from bayescale.parts.pooling.by_suite import BySuite
from bayescale.runs.table import Runs
from bayescale.transfer.learn import Learner, Missed
from bayescale.transfer.population import Evidence

FOLDER = "learned"
"""Folder next to the specs, with the evidence that their priors were learned from."""


def remember(learner: Learner, path: str | Path) -> Path:
    """Write the evidence of families, for :func:`recall`.

    Parameters
    ----------
    learner : Learner
    path : str or Path

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    QueryError
        If the file cannot be written.
    """
    families = [
        {"family": name, "anchor": anchor, "information": information, "precision": precision}
        | ({"misses": [missed._asdict() for missed in learner.misses[name]]} if name in learner.misses else {})
        for name, precision, information, anchor in zip(learner.families, *learner.evidence[:3], strict=True)
    ]
    content = {
        "model": learner.base.name,
        "model_digest": learner.base.digest,
        "runs": learner.runs.name,
        "runs_digest": learner.runs.digest,
        "seed": learner.seed,
        "left_out": learner.left_out,
        "families": families,
    }
    path = Path(path)
    path.parent.mkdir(exist_ok=True)
    heading = "What each family's runs said, by `bayescale learn --keep`: backtests learn from it without a family."
    return recording.write(_plain(content), path, heading, digits=17)  # so that the same priors are learned again


def recall(runs: Runs, base: Spec) -> Learner | None:
    """Read the built-in evidence of families under a spec with wide priors.

    Parameters
    ----------
    runs : Runs
    base : Spec
        The spec with wide priors.

    Returns
    -------
    Learner or None
        None if there is no built-in evidence for these runs and this spec.

    Raises
    ------
    QueryError
        If a built-in file is damaged.
    """
    for path in sorted((shipped.folder("models") / FOLDER).glob("*.toml")):
        found = recording.read(path, "what families said", lambda content: _learner(content, runs, base))
        if found is not None:
            return found
    return None


def _learner(content: Mapping[str, Any], runs: Runs, base: Spec) -> Learner | None:
    if (content["model_digest"], content["runs_digest"]) != (base.digest, runs.digest):
        return None
    said = {row["family"]: row for row in content["families"]}
    precision, information, anchors = (
        np.array([row[part] for row in said.values()]) for part in ("precision", "information", "anchor")
    )
    return Learner(
        runs=runs,
        base=base,
        families=tuple(said),
        evidence=Evidence(precision, information, anchors, members(BySuite(), runs.where(family=list(said)).frame)),
        misses={
            name: tuple(Missed(*(np.array(missed[part]) for part in Missed._fields)) for missed in row["misses"])
            for name, row in said.items()
            if "misses" in row
        },
        left_out=dict(content.get("left_out", {})),
        seed=content["seed"],
    )


def _plain(value: Any) -> Any:
    """Return a value with arrays replaced by lists."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
