"""Answers about what is stored: coverage by day, markets with their fixed ids, symbols, instruments as of a date."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bot.candles import iso, parse_time
from bot.errors import Misconfigured, shown
from bot.times import DAY
from services.market_data.day_coverage import DayCounts
from services.market_data.instruments import UNDATED, load_instruments
from services.market_data.markets import BY_ID, MARKETS
from services.market_data.reference import ReferenceData
from services.market_data.store import SYNTHETIC, CandleStore

if TYPE_CHECKING:
    from pathlib import Path

MOST_SERIES = 500  # of a map
_counts = DayCounts()


def markets(_data_dir: Path, _said: dict[str, Any]) -> list[dict[str, Any]]:
    """Every market by its fixed id."""
    return [{"id": one.id, "exchange": one.exchange, "market": str(one.market)} for one in MARKETS]


def symbols(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Symbols that can be traded, by name and market id; `start` are left out before, `limit` are told."""
    ids = (said["market_id"],) if said.get("market_id") is not None else tuple(BY_ID)
    found = ReferenceData(data_dir).search(said["text"], ids)
    told = found[said["start"] : said["start"] + said["limit"]]
    items = [
        {"symbol": one.symbol, "market_id": one.market_id, "exchange": one.market.exchange}
        | {"market": str(one.market.market), "base": one.base, "quote": one.quote}
        for one in told
    ]
    return {"items": items, "count": len(found)}


def instruments(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Instruments of a market as they were stated at a day; those known from later days only are counted."""
    market = BY_ID.get(said["market_id"])
    if market is None:
        raise Misconfigured(f"market_id is {shown(said['market_id'])}; choose one of {', '.join(map(str, BY_ID))}.")
    at = parse_time(said["as_of"])
    items, later = [], 0
    for symbol, dated in sorted(load_instruments(data_dir, market.exchange, market.market).items()):
        one, since = dated.at(at)
        if said["text"] not in symbol:
            continue
        if since > at:
            later += 1
            continue
        numbers = (one.tick_size, one.lot_size, one.min_quantity, one.min_notional, one.maker_fee, one.taker_fee)
        names = ("tick_size", "lot_size", "min_quantity", "min_notional", "maker_fee", "taker_fee")
        told = {name: format(number.normalize(), "f") for name, number in zip(names, numbers, strict=True)}
        day = iso(since)[:10]
        items.append({"symbol": symbol, "since": None if day == UNDATED else day, **told})
    return {"items": items, "later": later}


def coverage(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Share of each day's bars that are stored, by series, for `days` up to the day `until` (the last stored one)."""
    store = CandleStore(data_dir)
    wanted = [one for one in store.series() if said["text"] in one.symbol]
    series = sorted(wanted, key=lambda one: (one.venue == SYNTHETIC, one.symbol, one.venue, one.market, one.bar))
    cut_off, series = len(series[MOST_SERIES:]), series[:MOST_SERIES]
    last = parse_time(said["until"]) // DAY if said.get("until") else _counts.newest_day(store, series)
    if last is None:
        return {"first": None, "days": said["days"], "items": [], "left_out": 0}
    first = last - said["days"] + 1
    found = (_counts.coverage(store, one, first, said["days"]) for one in series)
    items = [
        {"pair": one.series.symbol, "exchange": one.series.venue, "market": one.series.market, "bar": one.series.bar}
        | {"first": _day(one.first), "last": _day(one.last), "bars": one.bars, "missing": one.missing}
        | {"shares": [None if share is None else round(share, 4) for share in one.shares]}
        for one in found
    ]
    return {"first": _day(first), "days": said["days"], "items": items, "left_out": cut_off}


def _day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY / 1000, UTC).strftime("%Y-%m-%d")
