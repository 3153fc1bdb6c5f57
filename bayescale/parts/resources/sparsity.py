"""Sparsity: params that a token does not use are worth a power of the params."""

from bayescale.parts.base import AbstractResource, Column, Parameter
from bayescale.parts.priors import LogitNormal


class Sparsity(AbstractResource):
    r"""Effective params of a routed model, between those that a token uses and all of them.

    .. math:: N' = N (P/N)^{\zeta}

    where a token uses `N` of the `P` params, and the column ``sparsity`` is `P/N`: 1 for a dense model. It composes
    with any law that reads `active_params`.
    """

    name = "sparsity"
    source = "effective params as in Clark et al. 2022, arXiv:2202.01169; the power is our own"
    use = (
        "Routed runs of any kind, with several experts a token or experts of other sizes, where only all params and "
        "those that a token uses are known. Runs of at least three sparsities inform it."
    )
    avoid = (
        "Runs of one router with many numbers of experts and tokens, for which routed-joint knows that experts "
        "saturate and need data. A law of all params, for which sparsity has the other sign."
    )
    changes = {"params": ("active_params",)}
    requires = ("sparsity",)
    balanced = False
    columns = {"sparsity": Column("1", "all params over those that a token uses", default=1.0, low=1.0, high=1000.0)}
    parameters = {
        "worth": Parameter(
            LogitNormal(0.39, 1.0),
            "e-folds of params per e-fold of sparsity",
            "what params are worth that a token does not use",
            0.2,
            "near Beta(2, 3): 0 is a dense model of the used params, 1 one of all params",
        ),
    }

    @staticmethod
    def effective(spent, balance, *, worth):
        return {**spent, "params": spent["params"] + worth * spent["sparsity"]}
