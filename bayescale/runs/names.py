"""Names: the columns of bayescale under the names that people and trackers give them.

A name is taken for a column of bayescale if it is listed here and no other column of the table could be meant. What was
taken is said. Everything else is for ``columns=`` (``--columns`` in a shell).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from bayescale.core.errors import RunsError, nearest

# Names with one meaning, in lower case, with _ for / . - and spaces. Left out on purpose: N, D and C, which count
# anything; losses of training; params without embeddings, which are another way of counting.
_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "params": ("param", "parameters", "num_params", "n_params", "nparams", "num_parameters", "n_parameters",
               "param_count", "params_count", "parameter_count", "total_params", "total_parameters", "model_params",
               "model_parameters", "model_size"),
    "tokens": ("token", "num_tokens", "n_tokens", "ntokens", "train_tokens", "training_tokens", "total_tokens",
               "token_count", "tokens_seen", "tokens_trained", "num_train_tokens", "n_train_tokens"),
    "loss": ("eval_loss", "evaluation_loss", "val_loss", "valid_loss", "validation_loss", "test_loss", "heldout_loss",
             "final_eval_loss", "final_val_loss"),
    "flops": ("flop", "total_flops", "total_flop", "train_flops", "training_flops", "training_flop", "num_flops",
              "n_flops", "compute_flops", "compute_flop", "training_compute_flop", "training_compute_flops"),
    "step": ("global_step", "trainer_global_step", "train_step", "training_step"),
    "active_params": ("active_parameters", "num_active_params", "n_active_params", "activated_params"),
    "unique_tokens": ("num_unique_tokens", "n_unique_tokens"),
    "family": ("model_family", "family_name"),
    "run_id": ("runid", "id_of_run"),
}  # fmt: skip

# Names that state the unit of a loss, too.
_LOSSES = {
    "perplexity": ("perplexity", "ppl", "eval_perplexity", "eval_ppl", "val_perplexity", "val_ppl", "test_perplexity",
                   "test_ppl", "validation_perplexity"),
    "bits-per-byte": ("bits_per_byte", "bpb", "eval_bpb", "val_bpb", "test_bpb"),
}  # fmt: skip

_UNIT = re.compile(
    r"(?P<name>.+?)\s*[(\[](?P<unit>[^()\[\]]+)[)\]]|(?P<word>.+?)[_ ](?:in[_ ])?(?P<count>millions|billions)",
    re.IGNORECASE,
)
_LONGEST = 400  # characters of a name that is looked at for a unit: the time grows with their square
_PREFIXES = ("config_", "summary_")
"""What trackers write before the names of settings and of results."""


class Named(NamedTuple):
    """A table under bayescale's names; the units that its names state; and in words what was understood."""

    frame: pd.DataFrame
    units: dict[str, str]
    notes: tuple[str, ...]


def named(frame: pd.DataFrame, columns: Mapping[str, str], name: str) -> Named:
    """Return a table with its columns under bayescale's names.

    Parameters
    ----------
    frame : DataFrame
    columns : mapping of str to str
        Names of the table by those of bayescale, such as ``{"params": "n_params"}``. Others are found by the rule.
    name : str
        Name of the table, for messages.

    Returns
    -------
    Named

    Raises
    ------
    RunsError
        If the table has no such column, or one column is given two names.
    """
    frame = frame.rename(columns=lambda column: str(column).strip())
    _check(frame, columns, name)
    replaced = [ours for ours, theirs in columns.items() if ours in frame and ours != theirs]
    notes = [f"{ours} from {theirs!r}" for ours, theirs in columns.items()]
    notes += [f"column {column!r} left out" for column in replaced]
    frame = frame.drop(columns=replaced).rename(columns={theirs: ours for ours, theirs in columns.items()})
    units, renamed = dict[str, str](), dict[str, str]()
    for ours in _OTHER_NAMES:
        found = candidates(ours, frame.columns) if ours not in frame else []
        if len(found) == 1:
            renamed[found[0]] = ours
            stated = _parts(found[0])[1]
            units |= {ours: stated} if stated else {}
            notes.append(f"{ours} from {found[0]!r}")
    if "loss" not in {*frame, *renamed.values()}:
        for unit, others in _LOSSES.items():
            found = [column for column in frame if _normal(column) in others]
            if len(found) == 1 and "loss" not in renamed.values():
                renamed[found[0]], units["loss"] = "loss", unit
                notes.append(f"loss from {found[0]!r}")
    return Named(frame.rename(columns=renamed), units, tuple(notes))


def candidates(ours: str, columns: Iterable[str]) -> list[str]:
    """Return the columns of a table that could be a column of bayescale under another name."""
    meant = {ours, *_OTHER_NAMES.get(ours, ())}
    return [column for column in map(str, columns) if _normal(_parts(column)[0]) in meant]


def _parts(column: str) -> tuple[str, str]:
    """Return a name without the unit in brackets, and the unit: ``Params (M)`` is params in M."""
    match = _UNIT.fullmatch(column.strip()) if len(column) <= _LONGEST else None
    return (column, "") if match is None else (match["name"] or match["word"], match["unit"] or match["count"])


def _normal(column: str) -> str:
    """Return a name in lower case, with one _ between words."""
    text = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    return next((text.removeprefix(prefix) for prefix in _PREFIXES if text.startswith(prefix)), text)


def _check(frame: pd.DataFrame, columns: Mapping[str, str], name: str) -> None:
    for ours, theirs in columns.items():
        if theirs not in frame:
            raise RunsError(f"{name!r} has no column {theirs!r} to take {ours} from", got=", ".join(frame.columns),
                            hint=nearest(theirs, frame.columns))  # fmt: skip
    theirs_of = list(columns.values())
    if twice := [theirs for theirs in theirs_of if theirs_of.count(theirs) > 1]:
        raise RunsError(f"column {twice[0]!r} of {name!r} is given two names", hint="name it once")
