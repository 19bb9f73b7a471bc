"""The pairs of a candle store that a command looks at: one series of each, by venue and market."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Misconfigured, cut
from services.market_data.store import SYNTHETIC, CandleStore, SeriesName

if TYPE_CHECKING:
    from collections.abc import Sequence


def stored_pairs(
    store: CandleStore, pairs: Sequence[str] = (), exchange: str | None = None, market: str | None = None
) -> list[SeriesName]:
    """List the shortest bars of every stored pair, or of those that are asked for; raises Misconfigured without one.

    Generated candles count where their venue is named, or where there are no others.
    """
    held = sorted({(one.venue, one.market, one.symbol) for one in store.series()})
    if not held:
        raise Misconfigured("the store holds no candles; import or download some, or run `traderagent data synth`.")
    real = [one for one in held if one[0] != SYNTHETIC]
    if exchange is None and real:
        held = real
    chosen = [
        one
        for one in held
        if exchange in (None, one[0]) and market in (None, one[1]) and (not pairs or one[2] in pairs)
    ]
    missing = next((pair for pair in pairs if pair not in {one[2] for one in chosen}), None)
    if missing is not None or not chosen:
        place = " ".join(one for one in (exchange, market) if one)
        raise Misconfigured(
            f"pair {missing or 'of any name'} has no candles in the store{f' for {cut(place)}' if place else ''}; "
            "`traderagent data list` shows what it holds."
        )
    return [store.finest(*one) for one in chosen]
