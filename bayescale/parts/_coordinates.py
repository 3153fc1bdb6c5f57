"""Coordinates: the sum of a discrepancy's basis over its coordinates, at each run."""

from jax import Array


def at_runs(basis: Array, coordinates: Array) -> Array:
    """Return the discrepancy at each run, in units of its scale.

    All runs of a block belong to one family, and so have the same coordinates. This is therefore a product of a matrix
    and a vector, which takes a fifth of the time of an elementwise product and its sum.

    Parameters
    ----------
    basis : Array, shape (..., run, coordinate) or (run, coordinate)
    coordinates : Array, shape (..., 1, coordinate), or (run, coordinate) if each run has its own

    Returns
    -------
    Array, shape (..., run)
    """
    if coordinates.shape[-2:-1] == (1,):
        return (basis @ coordinates.mT)[..., 0]
    return (basis * coordinates).sum(axis=-1)
