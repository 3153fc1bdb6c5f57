"""Group: runs of one group err together, by the same amount."""

import jax.numpy as jnp
import numpy as np

from bayescale.core.errors import RunsError
from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import LogNormal

_MOST = 64  # groups of a family


class Group(AbstractDiscrepancy):
    r"""An effect of the group that a run is of: an IsoFLOP budget, a training run with its checkpoints, repeated seeds.

    .. math:: \delta_i = s\, u_{g(i)}

    Runs of one group then count as few. The column ``group`` names groups within a family, and an empty cell is a run
    that shares nothing. A forecast is of a group not yet seen, unless its query names one that was fitted.
    """

    name = "group"
    source = "Chinchilla's residuals share their IsoFLOP budget: without, posteriors are 1.7 to 4.6 times too narrow"
    informed = True
    labels = ("group",)
    coordinates = {"group_effect": _MOST + 1}
    parameters = {
        "group_effect": Parameter(LogNormal(0.003, 0.3), "log loss", "error that runs of one group share", spread=0.1),
    }

    @staticmethod
    def basis(at, fitted):
        known = sorted({name for name in fitted.group if name})
        if len(known) > _MOST:
            raise RunsError(
                "a family has more groups than discrepancy 'group' takes",
                wanted=f"at most {_MOST}",
                came=f"{len(known)}: {', '.join(known[:3])} …",
                do="name coarser groups, or take the discrepancy 'curve', which has no bound",
            )
        places = {name: column for column, name in enumerate(known)} | {"": None}
        columns = [places.get(name, _MOST) for name in at.group]
        basis = np.zeros((len(columns), _MOST + 1))
        for row, column in enumerate(columns):
            if column is not None:
                basis[row, column] = 1.0
        return basis

    @staticmethod
    def shift(basis, coordinates, *, group_effect):
        return group_effect * jnp.sum(basis * coordinates, axis=-1)
