"""Sentences of a report's first page: the same words when Python writes them and when the page's script does."""

from __future__ import annotations

from bayescale.decisions.allocation import TOO_FAR
from bayescale.decisions.choice import USE
from bayescale.decisions.waste import WIDE

WORDS = {
    "right": "If the model is right",
    "one_right": "If one of the models is right",
    "allocation": "With {budget}, train about {params} parameters on {tokens} tokens. The best size is {low} to {high} "
    "parameters (90% interval{free}).",
    "free": ", without the limits",
    "safe": "Any size from {low} to {high} costs under 1% extra compute in at least half of the draws.",
    "unsafe": "No size costs under 1% extra compute in at least half of the draws.",
    "confidence": "{right}, this choice is expected to cost {waste} more compute than the best one, "
    "because its law is not known exactly; 95% of draws say less than {most}. {safe} The cost of "
    "a wrong model is not in these figures.",
    "unsettled": "These runs do not settle how to spend {budget}: the best size may lie anywhere from {low} to {high} "
    "parameters.",
    "ranges": "This is a 90% interval: it spans {ratio_low} to {ratio_high} tokens per parameter. Add runs with other "
    "tokens per parameter, or larger runs, before you decide.",
    "lifetime": "To serve {demand} tokens with the quality of a compute-optimal model of {like} parameters, train "
    "about {params} parameters on {tokens} tokens (90% interval {tokens_low} to {tokens_high}).",
    "saving": "{right}, training and serving then take {cost} FLOP, {saving} less than with {like} "
    "parameters. The best size of each draw lies between {low} and {high} parameters (90% interval). {scope}",
    "scope_law": "With tokens served, this page computes under the law alone, without noise and errors of the law.",
    "scope_run": "Tokens and costs are those of a run, with its noise and the errors of the law. The sliders compute "
    "them under the law alone.",
    "plan": "{right}, your plan of {params} parameters on {tokens} tokens is expected to cost {waste} "
    "more compute than the best split (90% interval {low} to {high}).",
    "outside": "Your plan is outside the sizes that this page knows at this budget.",
    "run_range": "90% interval of one run: {low} to {high}; ",
    "loss_range": "90% interval of the law alone: {low} to {high}",
    "ratio_range": "the best ratio has a 90% interval of {low} to {high}",
    "served_ratio": "90% interval {low} to {high}",
    "served_cost": "training and serving; ",
    "reach_over": "more compute than your largest run ({largest} FLOP)",
    "reach_inside": "your largest run has {largest} FLOP",
    "scenario": "too far for a forecast: read it as a scenario",
    "cost_range": "{dollars} over the ranges of price, utilisation and overhead; price of {as_of}",
    "days": "; {days} days on {devices}",
    "hours_range": "90% interval {low} to {high}",
    "note_a": "Note: {params} parameters is the chosen size. Each size needs this much more compute than each draw's "
    "best size, for the same loss.",
    "note_life": "Note: for training alone, {params} parameters would be chosen. Each size needs this much more "
    "compute than each draw's best size, for the same loss.",
    "note_open": "Note: no size is settled. Each size needs this much more compute than each draw's best size, for the "
    "same loss.",
    "note_b": "Note: at {flops} FLOP the loss of a single run at the best split is {low} to {high} (90% interval, "
    "noise included). The curve is for the best split, so it does not predict the runs with hollow markers.{largest}",
    "largest_run": "The largest run ({params} parameters, {ratio} tokens per parameter) has a loss {off} {side} its "
    "own prediction, {place} the 90% interval of the noise ({low} to {high} of the loss)",
    "largest_in": ": nothing unusual.",
    "largest_out": ". One such run may be chance, or a sign that larger runs have a {lower} loss than forecast here",
    "largest_see": " The loss of the largest run is outside the noise around its own prediction: see what could "
    "be wrong, below.",
    "largest_do": "fit without it (--exclude), and report both answers",
    "under_a": "{x} parameters: {mean} extra compute expected (90% of the draws {low} to {high}).",
    "under_b": "{x} FLOP: a loss of {mean} (90% of the draws {low} to {high}).",
    "regret_note": "Note: the regret of an action is what it loses against each draw's best action, under the law "
    "alone. The picture is of {draws} draws.",
    "regret_near": " {near} of {count} actions have at most twice the least expected regret.",
    "regret_run": " The choice itself is by the utility of a run, with its noise and the errors of the law.",
    "regret_open": " No action is marked, because the runs do not settle one; so there is no control either.",
    "regret_shown": "{action}: expected regret {regret} (90% of the draws {low} to {high}).",
    "judged": "Judged by {how}, choose ",
    "written": "As the page was written, choose ",
    "taken": "If you choose ",
    "all_draws": "all draws",
    "worst_draws": "its worst {tail} of draws",
    "no_actions": "This page has no picture of what other actions would cost: {why}.",
    "static": "This part and the next are for {budget}, the setting with which the page was written. The sliders "
    "change neither of them.",
    "kept": "With {budget}, {ratio} tokens per parameter are {params} parameters on {tokens} tokens. That is expected "
    "to cost {waste} more compute than the best split, or {loss} nats/token more loss.",
    "depends_at": "{said} This is with {budget}, the setting with which the page was written.",
    "kept_own": "This choice is expected to cost {waste} and {loss} nats/token more than the best split.",
    "assumed": "{accelerator}-days as written rest on {figures}.",
    "faults": "known faults of these runs: {count} (listed in the appendix), the first: {first}",
    "good": "Settled",
    "care": USE.capitalize(),
    "open": "Not settled",
    "states": "PASS: this check found nothing against the answer. REVIEW: something may change it; "
    "read the line and decide. FAIL: the model does not describe these runs in this respect.",
    "most_worth": "Upper bound: {saved} ({flops} FLOP, {times} of your largest run). {right}, no experiment that only "
    "improves this split is worth more, for that is what knowing {unknown} exactly would save; one run is worth less.",
    "too_dear": "Another run as large as your largest costs more than that.",
    "may_pay": "Another run as large as your largest costs less than that, so it may pay.",
    "next_run": "To find the best next run and what it is worth: {command}",
    "model_first": "Before any run, follow the actions above: they cost no training, and they can show where the model "
    "is wrong.",
    "far": TOO_FAR,
    "wide": WIDE,
    "cautious": "chosen for the mean of the worst {tail} of the draws",
    "neutral": "chosen for the mean of all draws",
    "thinned": "This control uses {draws} of the draws, so its choice may differ slightly from that of the page as "
    "written.",
    "slid": "The sliders use {draws} of the draws, so figures may differ slightly from those of the page as written.",
}
"""Text by its name, with names of values in braces."""

TAILS = [1.0, 0.75, 0.5, 0.25, 0.1]
"""Shares of the draws, the worst ones, that a cautious choice may be judged by; 1 is all of them."""


def say(name: str, **values: str) -> str:
    """Return a text with its values.

    Parameters
    ----------
    name : str
    **values : str

    Returns
    -------
    str
    """
    return WORDS[name].format(**values)
