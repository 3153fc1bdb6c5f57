"""Modalities: published scaling of language, images, video and mathematics, as priors.

The constants are those of Table 1 of Henighan et al. 2020, arXiv:2010.14701. Params exclude embeddings, compute is in
PF-days, and a loss is in nats per token of that modality, so that floors of rows cannot be compared.
"""

from __future__ import annotations

from typing import NamedTuple

from bayescale.core.errors import UnknownName, nearest
from bayescale.parts.priors import LogNormal

SOURCE = "Henighan et al. 2020, arXiv:2010.14701, Table 1"
PF_DAY = 8.64e19
"""FLOP of a PF-day."""
_SPREAD = 0.35  # e-folds: rows of one modality at other resolutions differ by as much


class Row(NamedTuple):
    """A published law ``floor + (scale / x)^exponent``."""

    floor: float
    scale: float
    exponent: float


PARAMS = {
    "language": Row(0.0, 1.47e14, 0.070),
    "image_8x8": Row(3.12, 80.0, 0.24),
    "image_16x16": Row(2.64, 280.0, 0.22),
    "image_32x32": Row(2.20, 63.0, 0.13),
    "image_vq_16x16": Row(3.99, 2.7e4, 0.13),
    "image_vq_32x32": Row(3.07, 1.9e4, 0.14),
    "text_to_image_caption": Row(0.0, 5.6e8, 0.037),
    "text_to_image_picture": Row(2.0, 5.1e3, 0.16),
    "image_to_text_caption": Row(0.0, 7.0e8, 0.039),
    "image_to_text_picture": Row(2.0, 5.5e3, 0.15),
    "video_vq_16x16x16": Row(1.01, 3.7e4, 0.24),
    "math_extrapolate": Row(0.28, 1.1e4, 0.16),
}
"""Laws of params, by modality."""

FLOPS = {
    "language": Row(0.0, 3.47e8 * PF_DAY, 0.048),
    "image_8x8": Row(3.13, 1.8e-8 * PF_DAY, 0.19),
    "image_16x16": Row(2.64, 1.6e-8 * PF_DAY, 0.16),
    "image_32x32": Row(2.21, 3.6e-9 * PF_DAY, 0.1),
    "image_vq_16x16": Row(4.09, 6.1e-7 * PF_DAY, 0.11),
    "image_vq_32x32": Row(3.17, 2.6e-6 * PF_DAY, 0.12),
    "text_to_image_picture": Row(1.93, 1.5e-6 * PF_DAY, 0.15),
    "image_to_text_picture": Row(1.97, 1.5e-6 * PF_DAY, 0.16),
    "video_vq_16x16x16": Row(0.95, 2.2e-5 * PF_DAY, 0.14),
    "math_extrapolate": Row(0.14, 1.4e-5 * PF_DAY, 0.17),
}
"""Laws of compute in FLOP, by modality."""


def exponent_from_modality(modality: str, of: str = "params") -> LogNormal:
    """Return a prior of the exponent of a power law, with a floor where the row has one, for a modality.

    Parameters
    ----------
    modality : str
        A key of :data:`PARAMS` or :data:`FLOPS`.
    of : {"params", "flops"}
        The input of the law.

    Returns
    -------
    LogNormal
        Its median is the published exponent.

    Raises
    ------
    UnknownName
        If there is no such row.

    Examples
    --------
    >>> bs.exponent_from_modality("video_vq_16x16x16").median
    0.24
    """
    rows = {"params": PARAMS, "flops": FLOPS}.get(of, {})
    if modality not in rows:
        raise UnknownName(f"no published law of {of} for modality {modality!r}", expected=f"one of: {', '.join(rows)}",
                          hint=nearest(modality, rows))  # fmt: skip
    return LogNormal(rows[modality].exponent, _SPREAD)
