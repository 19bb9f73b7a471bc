"""The kinds of market; by itself, so that the command line can name them without NumPy."""

from enum import StrEnum


class Market(StrEnum):
    """Spot owns the coin; linear is a perpetual contract margined and settled in the quote currency."""

    SPOT = "spot"
    LINEAR = "linear"
