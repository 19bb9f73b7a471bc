"""Which instrument a pair is: given, fetched from the venue, known by the built-in table, or inferred.

The table holds usual values of common pairs; a venue changes them now and then, so candles that do not lie on
the table's grid overrule it.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.candles import iso
from bot.errors import Misconfigured
from bot.instrument import Instrument, Market, in_ticks
from bot.validation import validated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.candles import Candles

SAMPLE = 20_000
MOST_DECIMALS = 10  # of numbers from one on; smaller ones have as many from their first digit
ON_GRID_SHARE = 0.999
SPOT_FEE = Decimal("0.001")


@dataclass(frozen=True)
class DatedInstrument:
    """What a venue said of one symbol: `since` (ms, ascending) and what held from then on, at least one."""

    since: tuple[int, ...]
    instruments: tuple[Instrument, ...]

    def at(self, ms: int) -> tuple[Instrument, int]:
        """What held at a time, and since when; before all that is known, the earliest."""
        index = max(bisect_right(self.since, ms) - 1, 0)
        return self.instruments[index], self.since[index]


@cache
def table() -> dict[tuple[str, str], dict[str, str]]:
    """Built-in instruments by (market, symbol)."""
    text = files("backtesting").joinpath("instruments.csv").read_text(encoding="utf-8")
    return {(row["market"], row["symbol"]): row for row in csv.DictReader(text.splitlines())}


def instrument_for(
    symbol: str,
    market: Market,
    candles: Candles,
    override: dict[str, Any] | None = None,
    fetched: Instrument | DatedInstrument | None = None,
) -> tuple[Instrument, str | None]:
    """Choose the instrument for `candles`, with a sentence for the user where it had to be inferred or is of later.

    Of dated ones that which held when the candles begin; one of later only where their prices lie on its grid.
    `override` (fields of Instrument) goes over whatever is known; raises Misconfigured when it does not fit.
    """
    notice = None
    if isinstance(fetched, DatedInstrument):
        fetched, since = fetched.at(int(candles.ts[0]))
        if since > candles.ts[0]:
            notice = (
                f"{symbol} {market}: tick, lot, minimum and fees are those of {iso(since)[:10]}, "
                f"the earliest known, for candles from {iso(int(candles.ts[0]))[:10]} on."
            )
            fetched = fetched if _on_grid(candles, float(fetched.tick_size)) else None
    known: dict[str, Any] | None = fetched.model_dump() if fetched else _built_in(symbol, market)
    notice = notice if fetched else None
    given = override or {}
    if known is None or not (fetched or _on_grid(candles, float(known["tick_size"]))):
        known = _inferred(symbol, market, candles)
        missing = [name for name in ("tick_size", "lot_size") if name not in given]
        if missing:
            values = " and ".join(f"{name} {known[name]}" for name in missing)
            notice = (
                f"{symbol} {market} is not in the table with these prices: {values} inferred from the candles; "
                "set instrument in the config, or run `traderagent data instruments`, to be exact."
            )
    instrument: Instrument = validated(Instrument, {**known, **given}, "instrument")
    if not _on_grid(candles, float(instrument.tick_size)):
        raise Misconfigured(
            f"instrument.tick_size is {instrument.tick_size} but the candles' prices are no multiples; correct it."
        )
    return instrument, notice


def _built_in(symbol: str, market: Market) -> dict[str, Any] | None:
    row = table().get((str(market), symbol))
    return None if row is None else {**row, **_fees(market)}


def _fees(market: Market) -> dict[str, Any]:
    return {"maker_fee": SPOT_FEE, "taker_fee": SPOT_FEE} if market is Market.SPOT else {}


def _on_grid(candles: Candles, tick: float) -> bool:
    return bool(np.mean(_multiples(candles.close[-SAMPLE:], tick)) >= ON_GRID_SHARE)


def _multiples(values: NDArray[np.float64], step: float) -> NDArray[np.bool_]:
    """Whether each of the positive values (n,) is a multiple of `step`; one that rounds to zero is none."""
    steps = in_ticks(values, step)
    return np.asarray((steps == np.rint(steps)) & (steps != 0), np.bool_)


def _inferred(symbol: str, market: Market, candles: Candles) -> dict[str, Any]:
    """Tick and lot from the decimals of prices and volumes; a lot is worth at most about one quote unit."""
    prices = np.concatenate([candles.open[-SAMPLE:], candles.close[-SAMPLE:]])
    tick = _step(prices)
    worth = float(np.median(candles.close))
    cheapest = Decimal(1).scaleb(-max(int(np.ceil(np.log10(worth))), 0))
    lot = max(min(_step(candles.volume[-SAMPLE:]), cheapest), Decimal("1e-8"))
    return {
        "symbol": symbol,
        "market": market,
        "tick_size": tick,
        "lot_size": lot,
        "min_notional": 5,
        **_fees(market),
    }


def _step(values: NDArray[np.float64]) -> Decimal:
    """Smallest decimal step that all values but zeros are multiples of, allowing for 1 in 1000 that is not."""
    values = values[values > 0.0]
    if len(values) == 0:
        return Decimal(1)
    most = MOST_DECIMALS + max(-int(np.floor(np.log10(np.median(values)))), 0)
    for decimals in range(most):
        if np.mean(_multiples(values, 10.0**-decimals)) >= ON_GRID_SHARE:
            return Decimal(1).scaleb(-decimals)
    return Decimal(1).scaleb(-most)
