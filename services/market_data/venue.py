"""What a venue publishes, through ccxt: candles and funding rates with resume, and instruments. Needs no key."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from backtesting.candle_checks import Rows, repair
from backtesting.funding import SPAN_MS, FundingHistory
from bot.candles import COLUMNS, Candles
from bot.errors import Misconfigured, TradingError
from bot.instrument import Instrument, Market
from bot.times import HOUR, MINUTE
from services.market_data.funding import Written
from services.market_data.store import SeriesName

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.market_data.funding import FundingStore
    from services.market_data.store import CandleStore

EXCHANGES = ("bybit", "binance")
PAGE = 1000
FUNDING_PAGE = 200
FUNDING_SPAN = FUNDING_PAGE * HOUR  # no venue settles more often than hourly
ATTEMPTS = 5
FIRST_WAIT = 0.5  # seconds, doubled with each attempt


class VenueUnreachable(TradingError):
    """The venue did not answer within the retries; what was downloaded before is kept."""


@dataclass(frozen=True)
class Downloaded:
    """How many bars were new, and which candles of the venue were faulty: rows in the order they came."""

    new: int
    changes: list[Rows]


def client(exchange: str, market: Market) -> Any:
    """Ccxt's own client for `exchange`, rate-limited; raises Misconfigured for an unknown one."""
    import ccxt  # noqa: PLC0415, takes a second to load

    if exchange not in EXCHANGES:
        raise Misconfigured(f"exchange {exchange!r} is unknown; choose one of: {', '.join(EXCHANGES)}.")
    options = {"defaultType": "spot" if market is Market.SPOT else "swap", "fetchCurrencies": False}
    name = "binanceusdm" if exchange == "binance" and market is Market.LINEAR else exchange
    return getattr(ccxt, name)({"enableRateLimit": True, "options": options})


def _ask(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call the venue, again where the network failed; raises VenueUnreachable when it keeps failing."""
    import ccxt  # noqa: PLC0415

    again = retry(
        retry=retry_if_exception_type(ccxt.NetworkError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=FIRST_WAIT, max=10),
        reraise=True,
    )
    try:
        return again(call)(*arguments, **named)
    except ccxt.BaseError as error:
        reason = str(error).splitlines()[0][:200]
        raise VenueUnreachable(
            f"the venue did not answer ({reason}); try again later, it goes on where it stopped."
        ) from error


def market_of(venue: Any, market: Market, symbol: str) -> dict[str, Any]:
    """Ccxt's description of `symbol` as the venue writes it; raises Misconfigured with the nearest names."""
    wanted = "spot" if market is Market.SPOT else "linear"
    markets = {one["id"]: one for one in _ask(venue.load_markets).values() if one.get(wanted) and not one.get("expiry")}
    if symbol not in markets:
        near = ", ".join(difflib.get_close_matches(symbol, markets, n=3)) or "the venue's own names"
        raise Misconfigured(f"symbol {symbol!r} is not traded on {venue.id} {market}; did you mean {near}?")
    found: dict[str, Any] = markets[symbol]
    return found


def download(
    store: CandleStore,
    venue: Any,
    exchange: str,
    market: Market,
    symbol: str,
    start_ms: int,
    end_ms: int,
    progress: Callable[[int, int], None],
) -> Downloaded:
    """Store closed one-minute candles of [start_ms, end_ms) that are not there yet.

    Every page is stored as it comes, so an interrupted download goes on where it stopped. `progress` hears
    the minutes done and the minutes in all. The bar that is still forming is left out, a faulty one of the venue is
    repaired or left out.
    """
    found = market_of(venue, market, symbol)
    end_ms = min(end_ms, int(_ask(venue.fetch_time)) // MINUTE * MINUTE)
    missing = _missing(store, SeriesName(exchange, str(market), symbol), start_ms, end_ms)
    total, done, new, received = sum(last - first for first, last in missing) // MINUTE, 0, 0, 0
    changes: list[Rows] = []
    for first, last in missing:
        at = first
        while at < last:
            rows = _ask(venue.fetch_ohlcv, found["symbol"], "1m", since=at, limit=PAGE)
            rows = [row for row in rows if at <= row[0] < last]
            after = rows[-1][0] + MINUTE if rows else min(at + PAGE * MINUTE, last)
            if rows:
                columns = np.array(rows, np.float64).T
                values = dict(zip(COLUMNS[1:], columns[1:6], strict=True))
                candles = Candles(ts=columns[0].astype(np.int64), bar_ms=MINUTE, **values)
                candles, more = repair(candles)
                changes += [Rows(one.what, one.rows + received, one.ts) for one in more]
                received += len(rows)
                new += store.write(exchange, str(market), symbol, candles)[1] if len(candles) else 0
            done += (after - at) // MINUTE
            at = after
            progress(done, total)
    return Downloaded(new, _together(changes))


def _together(changes: list[Rows]) -> list[Rows]:
    """Changes of all pages, one of each kind."""
    kinds = dict.fromkeys(one.what for one in changes)
    return [
        Rows(
            what,
            *(np.concatenate([getattr(one, name) for one in changes if one.what == what]) for name in ("rows", "ts")),
        )
        for what in kinds
    ]


def _missing(store: CandleStore, series: SeriesName, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Spans of [start_ms, end_ms) that the store lacks."""
    if series not in store.series():
        return [(start_ms, end_ms)] if start_ms < end_ms else []
    held = store.read(series, start_ms, end_ms).ts
    edges = np.concatenate(([start_ms - MINUTE], held, [end_ms]))
    holes = np.flatnonzero(np.diff(edges) > MINUTE)
    return [(int(edges[hole]) + MINUTE, int(edges[hole + 1])) for hole in holes]


def download_funding(
    store: FundingStore,
    venue: Any,
    series: SeriesName,
    start_ms: int,
    end_ms: int,
    progress: Callable[[int, int], None],
) -> Written:
    """Store the settlements of [start_ms, end_ms) that are not there yet; returns how many were new.

    They are asked for in spans that cannot hold more than a page, however often is settled, and stored as they
    come; a span in which every 8 hours are stored is not asked for. `progress` hears the spans done and in all.
    """
    found = market_of(venue, Market.LINEAR, series.symbol)
    end_ms = min(end_ms, int(_ask(venue.fetch_time)))
    firsts = [at for at in range(start_ms, end_ms, FUNDING_SPAN) if _lacks(store.read(series), at, end_ms)]
    new = changed = 0
    for done, first in enumerate(firsts, 1):
        last = min(first + FUNDING_SPAN, end_ms)
        asked = {"since": first, "limit": FUNDING_PAGE, "params": {"until": last - 1}}
        rows = {
            (int(row["timestamp"]) + MINUTE // 2) // MINUTE * MINUTE: float(row["fundingRate"])
            for row in _ask(venue.fetch_funding_rate_history, found["symbol"], **asked)
        }
        ts = np.array(sorted(at for at in rows if first <= at < last), np.int64)
        if len(ts):
            history = FundingHistory(ts, np.array([rows[at] for at in ts.tolist()]))
            written = store.write(series, history, replace=True)
            new, changed = new + written.new, changed + written.changed
        progress(done, len(firsts))
    return Written(new, 0, changed)


def _lacks(history: FundingHistory | None, first: int, end_ms: int) -> bool:
    """Whether one of the 8 hours that lie in a span to be asked for has no settlement."""
    ends = np.arange(first // SPAN_MS * SPAN_MS + SPAN_MS, min(first + FUNDING_SPAN, end_ms), SPAN_MS)
    return history is None or not len(ends) or not history.settles(ends.astype(np.int64)).all()


def fetch_instruments(venue: Any, market: Market) -> list[Instrument]:
    """Every instrument of the market, as the venue describes it now."""
    wanted = "spot" if market is Market.SPOT else "linear"
    listed = [one for one in _ask(venue.load_markets).values() if one.get(wanted) and not one.get("expiry")]
    return [as_instrument(one, market) for one in listed if one["precision"]["price"] and one["precision"]["amount"]]


def as_instrument(one: dict[str, Any], market: Market) -> Instrument:
    """Read ccxt's description of an instrument."""
    limits = one["limits"]
    fields = {
        "symbol": one["id"],
        "market": market,
        "tick_size": _decimal(one["precision"]["price"]),
        "lot_size": _decimal(one["precision"]["amount"]),
        "min_quantity": _decimal(limits["amount"]["min"] or 0),
        "min_notional": _decimal(limits["cost"]["min"] or 0),
    }
    if one.get("maker") is not None and one.get("taker") is not None:
        fields |= {"maker_fee": _decimal(one["maker"]), "taker_fee": _decimal(one["taker"])}
    return Instrument.model_validate(fields)


def _decimal(value: Any) -> Decimal:
    return Decimal(repr(value) if isinstance(value, float) else str(value))
