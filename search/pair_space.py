"""A space of one strategy whose first axis is the pair: the same variants on each of several, every one by itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured, shown
from coordinator.config_file import names_of_pairs
from search.axes import Axis
from search.numbered import Numbered, SearchParameters
from search.space import Space, space_of_one

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from coordinator.config import BacktestConfig

PAIR = "pair"


class PairSpace(Numbered):
    """All variants of one strategy's config on several pairs, by number; `read_space` makes it."""

    portfolio = False

    def __init__(self, values: dict[str, Any], pairs: tuple[str, ...], search: SearchParameters) -> None:
        own = space_of_one({**values, PAIR: pairs[0]}, search)
        super().__init__(values, (Axis(PAIR, (PAIR,), pairs), *own.axes), search)
        self.spaces: tuple[Space, ...] = tuple(own.on_pair(pair) for pair in pairs)
        self.first_number, self.first = own.first_number, own.first

    @property
    def firsts(self) -> tuple[BacktestConfig, ...]:
        """The first valid variant on each pair."""
        return tuple(own.first for own in self.spaces)

    def apart(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Place of the pair of each variant (k,), and its number in the pair's own space, (k,)."""
        size = self.spaces[0].size
        return numbers // size, numbers % size

    def together(self, place: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers here of variants (k,) of a pair's own space."""
        return numbers + place * self.spaces[0].size

    def config(self, number: int) -> BacktestConfig:
        """Validate the whole config of a variant; raises Misconfigured for one that contradicts itself."""
        place, within = divmod(self._within(number), self.spaces[0].size)
        return self.spaces[place].config(within)

    def key(self, number: int) -> str:
        """Hash of a variant's pair and parameters, 16 hexadecimal digits: the same however the space is written."""
        place, within = divmod(self._within(number), self.spaces[0].size)
        own = self.spaces[place]
        return hashlib.blake2b(f"{own.first.pair}\n{own.key(within)}".encode(), digest_size=8).hexdigest()


def space_of_pairs(values: dict[str, Any], search: SearchParameters) -> PairSpace:
    """Read the space of one strategy on each of the pairs listed; raises Misconfigured."""
    pairs = names_of_pairs(values[PAIR])
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if not pairs or twice is not None:
        raise Misconfigured(
            f"pair is {shown(values[PAIR])}, which {'names none' if not pairs else f'names {twice} twice'}; list each "
            "pair that is searched once, such as [BTCUSDT, ETHUSDT]."
        )
    if values.get("candles") is not None:
        raise Misconfigured(
            f"candles is {shown(values['candles'])}, one file, and {len(pairs)} pairs are searched; import their "
            "candles into the store, or give them by pair in Python."
        )
    return PairSpace(values, tuple(pairs), search)
