"""Jobs that download candles: a period of a pair, or what is missing of a stored series."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bot.candles import iso, parse_time
from bot.errors import Misconfigured
from bot.market import Market
from bot.times import MINUTE
from bot.validation import validated
from coordinator.config_file import names_of_pairs, read_values
from services.app.search import in_thread_telling
from services.market_data.store import CandleStore, SeriesName
from services.market_data.venue import client, download

if TYPE_CHECKING:
    from pathlib import Path

    from services.app.worker import Told

DOWNLOAD, REPAIR = "download", "repair"
SHOWN = 20  # faulty candles of a venue that a result names


class DownloadRequest(BaseModel):
    """What a job is to download; a repair without a period takes all between the first and the last stored bar."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    pair: str
    exchange: Literal["bybit", "binance"] = "bybit"
    market: Market = Market.LINEAR
    start: str | None = Field(None, alias="from")
    end: str | None = Field(None, alias="to")


def read_download(kind: str, source: dict[str, Any] | Path) -> dict[str, Any]:
    """Read what a job is to download, as it is stored; raises Misconfigured."""
    asked: DownloadRequest = validated(DownloadRequest, source if isinstance(source, dict) else read_values(source), "")
    names = names_of_pairs([asked.pair])
    if len(names) != 1:
        raise Misconfigured("pair is empty; name one, such as BTCUSDT.")
    if kind == DOWNLOAD and (asked.start is None or asked.end is None):
        raise Misconfigured(f"{'to' if asked.start else 'from'} is missing; a download has a period, UTC.")
    period = {name: iso(parse_time(text)) for name, text in (("from", asked.start), ("to", asked.end)) if text}
    if len(period) == 2 and period["from"] >= period["to"]:
        raise Misconfigured(f"from ({asked.start}) must lie before to ({asked.end}); swap or widen them.")
    return {"pair": names[0], "exchange": asked.exchange, "market": str(asked.market), **period}


async def play_download(data_dir: Path, kind: str, request: dict[str, Any], told: Told) -> dict[str, Any]:
    """Download in a thread; one that is cancelled ends after the page that is being read, which is kept."""
    return await in_thread_telling(partial(_downloaded, data_dir, kind, request), told)


def _downloaded(data_dir: Path, kind: str, request: dict[str, Any], tell: Any) -> dict[str, Any]:
    store, market = CandleStore(data_dir), Market(request["market"])
    series = SeriesName(request["exchange"], str(market), request["pair"])
    first, last = (parse_time(request[name]) if name in request else None for name in ("from", "to"))
    if kind == REPAIR:
        candles = store.read(series, first, last)  # refuses what is not stored
        first = int(candles.ts[0]) if first is None else first
        last = int(candles.ts[-1]) + MINUTE if last is None else last
    venue = client(request["exchange"], market)
    done = download(store, venue, request["exchange"], market, request["pair"], first or 0, last or 0, tell)
    missing = sum(gap.bars for gap in store.coverage(series).gaps) if store.holds(series) else 0
    return {"new": done.new, "missing": missing, "faulty": [str(one) for one in done.changes[:SHOWN]]}
