"""Downloads through ccxt's own client, from a small Bybit- and Binance-like server on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from backtesting.funding import FundingHistory
from bot.errors import Misconfigured
from bot.instrument import Market
from coordinator.config import SimulationRules
from services.market_data import venue as adapter
from services.market_data.funding import FundingStore
from services.market_data.store import CandleStore, SeriesName
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import VenueServer
from tests.conftest import START, instrument, walk

CANDLES = walk(3000, seed=1)
NOW = START + 2500 * 60_000 + 30_000  # half a minute into bar 2500, which is still forming
BTC = SeriesName("bybit", "linear", "BTCUSDT")


class Handler(BaseHTTPRequestHandler):
    """Answers the four public calls a download makes."""

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.server.asked.append((url.path, query))
        if self.server.failures > 0 and url.path.endswith("kline"):
            self.server.failures -= 1
            self.send_error(503)
            return
        result = {
            "/v5/market/time": self.time,
            "/v5/market/instruments-info": self.instruments,
            "/v5/market/kline": self.kline,
        }
        self.answer({"retCode": 0, "retMsg": "OK", "result": result[url.path](query), "time": NOW})

    def answer(self, body, status=200):
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def time(self, query):
        return {"timeSecond": str(NOW // 1000), "timeNano": str(NOW * 1_000_000)}

    def instruments(self, query):
        if query["category"] != "linear":
            return {"category": query["category"], "list": [], "nextPageCursor": ""}
        row = {
            "symbol": "BTCUSDT",
            "contractType": "LinearPerpetual",
            "status": "Trading",
            "baseCoin": "BTC",
            "quoteCoin": "USDT",
            "settleCoin": "USDT",
            "launchTime": "1585526400000",
            "deliveryTime": "0",
            "priceScale": "2",
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100", "leverageStep": "0.01"},
            "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
            "lotSizeFilter": {
                "maxOrderQty": "1190",
                "minOrderQty": "0.001",
                "qtyStep": "0.001",
                "minNotionalValue": "5",
            },
        }
        return {"category": "linear", "list": [row], "nextPageCursor": ""}

    def kline(self, query):
        first, limit = int(query["start"]), int(query["limit"])
        index = max((first - START + 59_999) // 60_000, 0)
        last = min(index + limit, (NOW - START) // 60_000 + 1)
        names = ("open", "high", "low", "close", "volume")
        rows = [
            [str(int(CANDLES.ts[i])), *(str(float(getattr(CANDLES, n)[i])) for n in names), "0"]
            for i in range(index, last)
        ]
        for row in rows:
            row[1:5] = self.server.spoilt.get(int(row[0]), row[1:5])
        return {"category": "linear", "symbol": "BTCUSDT", "list": rows[::-1]}

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.failures, server.spoilt = [], 0, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def bybit(server):
    exchange = adapter.client("bybit", Market.LINEAR)
    address = f"http://127.0.0.1:{server.server_port}"
    exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], address)
    exchange.options["fetchMarkets"] = {"types": ["linear"]}
    exchange.rateLimit = 1
    return exchange


def fetch(store, exchange, first, last, heard=None):
    heard = [] if heard is None else heard
    span = (START + first * 60_000, START + last * 60_000)
    return adapter.download(store, exchange, "bybit", Market.LINEAR, "BTCUSDT", *span, lambda *p: heard.append(p))


def test_pages_are_put_together_and_the_forming_bar_is_left_out(tmp_path, bybit):
    store, heard = CandleStore(tmp_path), []
    assert fetch(store, bybit, 0, 3000, heard).new == 2500
    assert store.read(BTC).snapshot() == CANDLES.rows(slice(0, 2500)).snapshot()
    assert heard[-1] == (2500, 2500)


def test_what_is_stored_is_not_asked_for_again(tmp_path, bybit, server):
    store = CandleStore(tmp_path)
    store.write("bybit", "linear", "BTCUSDT", CANDLES.rows(slice(100, 900)))
    assert fetch(store, bybit, 0, 1000).new == 200
    asked = [int(query["start"]) for path, query in server.asked if path.endswith("kline")]
    assert asked == [START, START + 900 * 60_000]
    assert fetch(store, bybit, 0, 1000).new == 0
    assert store.read(BTC).snapshot() == CANDLES.rows(slice(0, 1000)).snapshot()


def test_a_passing_fault_is_tried_again(tmp_path, bybit, server, monkeypatch):
    monkeypatch.setattr(adapter, "FIRST_WAIT", 0.0)
    server.failures = 2
    assert fetch(CandleStore(tmp_path), bybit, 0, 50).new == 50


def test_a_lasting_fault_is_said_and_what_came_before_is_kept(tmp_path, bybit, server, monkeypatch):
    monkeypatch.setattr(adapter, "FIRST_WAIT", 0.0)
    store = CandleStore(tmp_path)
    assert fetch(store, bybit, 0, 1000).new == 1000
    server.failures = 10**6
    with pytest.raises(adapter.VenueUnreachable, match="did not answer"):
        fetch(store, bybit, 0, 2000)
    assert len(store.read(BTC)) == 1000


def test_a_faulty_candle_of_the_exchange_is_repaired_or_left_out_and_said(tmp_path, bybit, server):
    store, minute = CandleStore(tmp_path), START + 40 * 60_000
    server.spoilt[minute] = ["100", "90", "80", "85"]
    server.spoilt[START + 1500 * 60_000] = ["0", "0", "0", "0"]
    done = fetch(store, bybit, 0, 1700)
    assert done.new == 1699
    assert [(one.what, one.ts.tolist()) for one in done.changes] == [
        ("high and low widened to hold all four prices", [minute]),
        ("dropped, a price is zero or negative", [START + 1500 * 60_000]),
    ]
    assert store.read(BTC, minute, minute + 1).high.tolist() == [100.0]


def test_an_unknown_symbol_is_told_the_nearest(tmp_path, bybit):
    span = (START, START + 60_000)
    with pytest.raises(Misconfigured, match="BTCUSDT"):
        adapter.download(CandleStore(tmp_path), bybit, "bybit", Market.LINEAR, "BTCUSD", *span, print)


def test_instruments_come_from_the_venue(bybit):
    (found,) = adapter.fetch_instruments(bybit, Market.LINEAR)
    assert (found.tick_size, found.lot_size, found.min_notional) == (Decimal("0.1"), Decimal("0.001"), 5)


DAYS = 20
HOUR = 3_600_000
# Every 8 hours, then hourly, then every 4 hours: more than one page in a span of 8-hourly settlements would be.
HOURS = np.concatenate([np.arange(0, 80, 8), np.arange(80, 380), np.arange(380, DAYS * 24, 4)])
SETTLED = FundingHistory(START + HOUR * HOURS, np.sin(HOURS) / 1000)


async def funding_of(tmp_path, *spans, play=None):
    """Download spans (hours) from the simulated exchange; what each gave, and how often it was asked."""
    candles = walk(DAYS * 24, seed=1)
    candles = replace(candles, ts=START + HOUR * np.arange(DAYS * 24), bar_ms=HOUR)
    market = ({"BTCUSDT": instrument()}, {"BTCUSDT": candles}, 10_000.0, exchange_settings(SimulationRules()))
    exchange = Exchange(*market, histories={"BTCUSDT": SETTLED})
    exchange.begin(int(candles.ts[-1]))
    server = VenueServer(exchange, [Key("k", "s")])
    address = f"http://127.0.0.1:{await server.start()}"
    store, given = FundingStore(tmp_path), []
    bybit = adapter.client("bybit", Market.LINEAR)
    bybit.urls["api"] = dict.fromkeys(bybit.urls["api"], address)
    bybit.options["fetchMarkets"], bybit.rateLimit = {"types": ["linear"]}, 1
    try:
        for first, last in spans:
            heard = []
            ms = (START + first * HOUR, START + last * HOUR)
            written = await asyncio.to_thread(
                adapter.download_funding, store, bybit, BTC, *ms, lambda *p, heard=heard: heard.append(p)
            )
            given.append((written.new, len(heard)))
    finally:
        await server.stop()
    return store.read(BTC), given


def test_funding_is_downloaded_whole_whatever_its_interval_and_once(tmp_path):
    held, given = asyncio.run(funding_of(tmp_path, (0, 150), (0, 480), (0, 400)))
    assert held.ts.tolist() == SETTLED.ts[SETTLED.ts < START + (DAYS * 24 - 1) * HOUR].tolist()
    assert held.rate.tolist() == SETTLED.rate[: len(held)].tolist()
    assert given == [(80, 1), (len(held) - 80, 3), (0, 0)]


def test_an_unknown_exchange():
    with pytest.raises(Misconfigured, match="bybit, binance"):
        adapter.client("ftx", Market.LINEAR)
