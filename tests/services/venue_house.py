"""A small market by hand for tests of the simulated exchange: whole prices, whole lots, no slippage."""

from __future__ import annotations

from coordinator.config import BarPath, FillRule, SimulationRules
from services.simulated_bybit.exchange import BybitRefusal, Exchange, exchange_settings
from services.simulated_bybit.records import Key, Trade, VenueOrder
from services.simulated_bybit.rest import ROUTES
from services.simulated_bybit.server import VenueServer
from services.simulated_bybit.unverified import Unverified
from tests.conftest import bars, instrument

KEY = Key("house-key-0123456789", "house-secret-9876543210")
BTC = "BTCUSDT"
QUIET = (105, 105, 105, 105)
FALL_TO_98 = (105, 105, 98, 99)  # reaches an entry at 100 and no stop below 98
DROP = (99, 99, 80, 85)


def exchange_of(*rows, volume=1000.0, participation=1.0, unverified=None, capital=100_000.0, history=None, **fields):
    of = instrument("1", "1", **fields)
    rules = SimulationRules(
        fill_rule=FillRule.TOUCH, path=BarPath.NEAREST, slippage_bps=0.0, max_participation=participation
    )
    settings = exchange_settings(rules)
    market = ({BTC: of}, {BTC: bars(*rows, volume=volume)}, capital, settings, 1.0, unverified or Unverified())
    return Exchange(*market, histories={} if history is None else {BTC: history})


def ask(exchange, address, **query):
    """What the address answers, in Bybit's words."""
    method, path = address.split()
    server = VenueServer(exchange, [KEY])
    return ROUTES[(method, path)](server, {"category": server.category, **query})


def refused(exchange, address, **query):
    """Code and text of the refusal; fails if there is none."""
    try:
        answer = ask(exchange, address, **query)
    except BybitRefusal as answer:
        return answer.code, answer.message
    raise AssertionError(f"not refused: {answer}")


def entry(exchange, client_order_id="e", side="Buy", qty=10, price=100, stop=95, **more):
    """A limit entry, a stop attached unless it is None."""
    given = {} if stop is None else {"stopLoss": str(stop), "tpslMode": "Full", "slTriggerBy": "LastPrice"}
    given |= {"price": str(price)} if price else {}
    kind = "Limit" if price else "Market"
    named = {"symbol": BTC, "orderLinkId": client_order_id, "side": side, "orderType": kind, "qty": str(qty)}
    return ask(exchange, "POST order/create", **named, **given, **more)


def trading_stop(exchange, **what):
    return ask(exchange, "POST position/trading-stop", symbol=BTC, tpslMode="Full", positionIdx=0, **what)


def position(exchange):
    (row,) = ask(exchange, "GET position/list", symbol=BTC)["list"]
    return row


def own_rows(exchange):
    """Rows of the position's own: (kind of row, trigger or price, lots)."""
    return [(one.stop_type, one.price, one.lots) for one in exchange.books[BTC].live if one.stop_type]


def minute(exchange):
    while exchange.step():
        pass


def take_events(exchange):
    events, exchange.events = exchange.events, []
    return [one for one in events if isinstance(one, (Trade, VenueOrder))]


def fills(exchange):
    return [(one.client_order_id, one.side, one.price, one.lots) for one in exchange.trades]
