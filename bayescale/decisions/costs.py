"""Costs: FLOP to accelerator-hours, dollars and days and back, for each draw of a hardware's figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayescale.core.errors import QueryError

HOUR = 3600.0
"""Seconds in an hour."""
HOURS_A_DAY = 24.0


@dataclass(frozen=True, eq=False)
class Rates:
    """Draws of a hardware's figures, from :meth:`Hardware.drawn`; each has shape (draw, 1).

    Every method takes a number, or an array that broadcasts with (draw, 1): shape (action,) or (draw, action). It
    returns shape (draw, 1) or (draw, action). One draw pairs with one draw of a posterior.

    Attributes
    ----------
    peak : ndarray
        Dense FLOP/s of one accelerator.
    memory : ndarray
        Bytes of one accelerator.
    bandwidth : ndarray
        Bytes/s of one accelerator.
    utilisation : ndarray
        Model FLOP per second in training, relative to `peak`.
    overhead : ndarray
        Accelerator-hours paid for, relative to those of pure training: restarts, failures and evaluations.
    serving_utilisation, bandwidth_utilisation : ndarray
        What serving reaches of `peak` and of `bandwidth`.
    price : ndarray or None
        Dollars per accelerator-hour.
    count : ndarray or None
        Number of accelerators in training.
    """

    peak: np.ndarray
    memory: np.ndarray
    bandwidth: np.ndarray
    utilisation: np.ndarray
    overhead: np.ndarray
    serving_utilisation: np.ndarray
    bandwidth_utilisation: np.ndarray
    price: np.ndarray | None = None
    count: np.ndarray | None = None

    @property
    def flops_per_hour(self) -> np.ndarray:
        """Training FLOP that an accelerator-hour buys, overhead included; shape (draw, 1)."""
        return HOUR * self.peak * self.utilisation / self.overhead

    @property
    def dollars_per_hour(self) -> np.ndarray:
        """Dollars per accelerator-hour, shape (draw, 1); raises QueryError if the hardware has no price."""
        return _known(self.price, "price", "give a price with its date, in a file with a [price] table")

    @property
    def hours_per_day(self) -> np.ndarray:
        """Accelerator-hours a day, shape (draw, 1); raises QueryError if the hardware has no count."""
        return HOURS_A_DAY * _known(self.count, "count of accelerators", "write 512xH100, or give count = 512")

    def accelerator_hours(self, flops: Any) -> np.ndarray:
        """Return the accelerator-hours of training FLOP.

        Parameters
        ----------
        flops : float or ndarray
            FLOP.

        Returns
        -------
        ndarray, shape (draw, action)
            Accelerator-hours.
        """
        return np.asarray(flops, float) / self.flops_per_hour

    def dollars(self, flops: Any) -> np.ndarray:
        """Return the price of training FLOP.

        Parameters
        ----------
        flops : float or ndarray
            FLOP.

        Returns
        -------
        ndarray, shape (draw, action)
            US dollars. Print them with :meth:`Hardware.priced`, which adds the date of the price.

        Raises
        ------
        QueryError
            If the hardware has no price.
        """
        return self.accelerator_hours(flops) * self.dollars_per_hour

    def days(self, flops: Any) -> np.ndarray:
        """Return the time that training FLOP take on all accelerators.

        Parameters
        ----------
        flops : float or ndarray
            FLOP.

        Returns
        -------
        ndarray, shape (draw, action)
            Days.

        Raises
        ------
        QueryError
            If the hardware has no count of accelerators.
        """
        return self.accelerator_hours(flops) / self.hours_per_day

    def flops_of_hours(self, hours: Any) -> np.ndarray:
        """Return the training FLOP that accelerator-hours buy.

        Parameters
        ----------
        hours : float or ndarray
            Accelerator-hours.

        Returns
        -------
        ndarray, shape (draw, action)
            FLOP.
        """
        return np.asarray(hours, float) * self.flops_per_hour

    def flops_of_dollars(self, dollars: Any) -> np.ndarray:
        """Return the training FLOP that dollars buy.

        Parameters
        ----------
        dollars : float or ndarray
            US dollars.

        Returns
        -------
        ndarray, shape (draw, action)
            FLOP.

        Raises
        ------
        QueryError
            If the hardware has no price.
        """
        return self.flops_of_hours(np.asarray(dollars, float) / self.dollars_per_hour)

    def flops_of_days(self, days: Any) -> np.ndarray:
        """Return the training FLOP that all accelerators do in a number of days.

        Parameters
        ----------
        days : float or ndarray
            Days.

        Returns
        -------
        ndarray, shape (draw, action)
            FLOP.

        Raises
        ------
        QueryError
            If the hardware has no count of accelerators.
        """
        return self.flops_of_hours(np.asarray(days, float) * self.hours_per_day)


def _known(figure: np.ndarray | None, what: str, hint: str) -> np.ndarray:
    if figure is None:
        raise QueryError(f"the hardware has no {what}", hint=hint)
    return figure
