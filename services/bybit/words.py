"""Bybit's words in ours, and what to do about each of its codes. The only place that knows either."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import Enum
from typing import Any

from bot.instrument import Instrument, Market
from bot.order import OrderKind, Side
from bot.ports import Cause, Closed, Execution, Order, OrderState, Resting

# https://bybit-exchange.github.io/docs/v5/enum#orderstatus
STATES = {
    "New": OrderState.RESTING,
    "PartiallyFilled": OrderState.RESTING,
    "Untriggered": OrderState.RESTING,
    "Triggered": OrderState.RESTING,
    "Created": OrderState.RESTING,
    "Active": OrderState.RESTING,
    "Filled": OrderState.FILLED,
    "Cancelled": OrderState.CANCELLED,
    "PartiallyFilledCanceled": OrderState.CANCELLED,
    "Deactivated": OrderState.CANCELLED,
    "Rejected": OrderState.REFUSED,
}


class Remedy(Enum):
    """What a code asks of the bot."""

    AGAIN = "again"  # nothing was done; ask later
    SLOWER = "slower"
    CLOCK = "clock"
    DONE = "done"  # it is as it should be already
    TAKEN = "taken"  # the order with this link exists
    GONE = "gone"
    REFUSED = "refused"
    PERSON = "person"  # somebody has to act


# https://bybit-exchange.github.io/docs/v5/error; whatever is not here ends the order and is never sent again
REMEDIES = {
    10000: Remedy.AGAIN,
    10002: Remedy.CLOCK,
    10003: Remedy.PERSON,
    10004: Remedy.PERSON,
    10005: Remedy.PERSON,
    10006: Remedy.SLOWER,
    10007: Remedy.PERSON,
    10009: Remedy.PERSON,
    10010: Remedy.PERSON,
    10016: Remedy.AGAIN,
    10018: Remedy.SLOWER,
    10024: Remedy.PERSON,
    10027: Remedy.PERSON,
    10029: Remedy.PERSON,
    33004: Remedy.PERSON,
    110001: Remedy.GONE,
    110008: Remedy.GONE,
    110010: Remedy.GONE,
    110019: Remedy.GONE,
    110025: Remedy.DONE,
    110026: Remedy.DONE,
    110043: Remedy.DONE,
    110072: Remedy.TAKEN,
    110079: Remedy.AGAIN,
    170141: Remedy.TAKEN,
    170142: Remedy.GONE,
    170143: Remedy.GONE,
    170213: Remedy.GONE,
    34036: Remedy.DONE,
    34040: Remedy.DONE,
}

NOT_IN_DEMO = 10032  # https://bybit-exchange.github.io/docs/v5/demo: not every address answers there

SENTENCES = {
    10003: "the API key is not known here: check that it is a key of this environment (live, demo or testnet)",
    10004: "the signature does not fit: the secret belongs to another key, or was copied with a letter missing",
    10005: "the API key may not do this: give it the permission to trade (Orders and Positions)",
    10010: "this machine's address is not on the API key's list: add it, or remove the list",
    33004: "the API key has expired: make a new one",
}


def remedy(code: int, message: str) -> Remedy:
    """What to do about a code; `not modified` is success whatever its number."""
    if code == 10001 and "not modified" in message:
        return Remedy.DONE
    return REMEDIES.get(code, Remedy.REFUSED)


def instrument(row: dict[str, Any], market: Market, fees: tuple[Decimal, Decimal] | None) -> Instrument:
    """Translate an entry of instruments-info."""
    lots = row["lotSizeFilter"]
    values: dict[str, Any] = {
        "symbol": row["symbol"],
        "market": market,
        "tick_size": row["priceFilter"]["tickSize"],
        "lot_size": lots["basePrecision"] if market is Market.SPOT else lots["qtyStep"],
        "min_quantity": lots["minOrderQty"],
        "min_notional": lots.get("minNotionalValue") or lots.get("minOrderAmt") or 0,
    }
    if fees is not None:
        values |= {"maker_fee": fees[0], "taker_fee": fees[1]}
    return Instrument(**values)


def ticks(instrument_: Instrument, price: str) -> int:
    """Whole ticks of a price of the venue."""
    return round(Decimal(price or "0") / instrument_.tick_size)


def lots(instrument_: Instrument, quantity: str) -> int:
    """Whole lots of a quantity of the venue."""
    return int(Decimal(quantity or "0") / instrument_.lot_size)


def resting(row: dict[str, Any], of: Instrument) -> Resting:
    """Translate an order."""
    trigger = row.get("triggerPrice") or ""
    stop = bool(trigger) and Decimal(trigger) > 0
    kind = OrderKind.STOP if stop else OrderKind.LIMIT if row["orderType"] == "Limit" else OrderKind.MARKET
    price = trigger if stop else row["price"] if kind == OrderKind.LIMIT else "0"
    return Resting(
        link=row["orderLinkId"],
        side=Side.BUY if row["side"] == "Buy" else Side.SELL,
        kind=kind,
        price=ticks(of, price),
        lots=lots(of, row["qty"]),
        filled=lots(of, row["cumExecQty"]),
        state=STATES.get(row["orderStatus"], OrderState.UNKNOWN),
    )


def execution(row: dict[str, Any], of: Instrument, heard: float = 0.0) -> Execution | None:
    """Translate an execution; None for what neither moves the position nor the money of a bot."""
    kind = row.get("execType", "Trade")
    if kind not in ("Trade", "Funding", "BustTrade", "AdlTrade"):
        return None
    return Execution(
        id=row["execId"],
        symbol=row["symbol"],
        link="" if kind == "Funding" else row["orderLinkId"],
        side=Side.BUY if row["side"] == "Buy" else Side.SELL,
        price=ticks(of, row["execPrice"]),
        lots=lots(of, row["execQty"]),
        fee=float(row["execFee"] or 0.0),
        maker=row.get("isMaker") in (True, "true"),
        ts=int(row["execTime"]),
        cause=Cause.FUNDING if kind == "Funding" else Cause.ORDER,
        heard=heard,
    )


def closed(symbol: str, row: dict[str, Any]) -> Closed | None:
    """Translate a candle of the stream; None while it still forms."""
    if not row["confirm"]:
        return None
    values = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
    return Closed(symbol, int(row["start"]), *values)


def creation(category: str, order: Order, of: Instrument, listed: Instrument | None = None) -> dict[str, Any]:
    """Parameters of order/create; `listed`: the instrument as the venue has it now, where its steps are coarser."""
    request: dict[str, Any] = {
        "category": category,
        "symbol": of.symbol,
        "side": "Buy" if order.side == Side.BUY else "Sell",
        "orderType": "Limit" if order.kind == OrderKind.LIMIT else "Market",
        "qty": _quantity(order, of, listed),
        "orderLinkId": order.link,
    }
    if category == "linear":
        request |= {"positionIdx": 0, "reduceOnly": order.reduce_only}
    if order.kind == OrderKind.LIMIT:
        request |= {"price": _price(order, of, listed), "timeInForce": "PostOnly" if order.post_only else "GTC"}
    if order.kind == OrderKind.STOP:
        request |= {
            "triggerPrice": _price(order, of, listed),
            "triggerDirection": 1 if order.side == Side.BUY else 2,
            "triggerBy": "LastPrice",
        }
        if category == "spot":
            request["orderFilter"] = "StopOrder"
    if category == "spot" and order.kind != OrderKind.LIMIT:
        request["marketUnit"] = "baseCoin"
    return request


def amendment(category: str, order: Order, of: Instrument, listed: Instrument | None = None) -> dict[str, Any]:
    """Parameters of order/amend."""
    request = {"category": category, "symbol": of.symbol, "orderLinkId": order.link}
    if order.kind != OrderKind.MARKET:
        request["triggerPrice" if order.kind == OrderKind.STOP else "price"] = _price(order, of, listed)
    return {**request, "qty": _quantity(order, of, listed)}


def _price(order: Order, of: Instrument, listed: Instrument | None) -> str:
    step = (listed or of).tick_size
    return format((of.price(order.price) / step).to_integral_value(ROUND_HALF_EVEN) * step, "f")


def _quantity(order: Order, of: Instrument, listed: Instrument | None) -> str:
    step = (listed or of).lot_size
    return format((of.quantity(order.lots) / step).to_integral_value(ROUND_DOWN) * step, "f")
