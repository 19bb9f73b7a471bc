"""Bybit's words in ours.

What is not written as agreed raises an error of Python (client.MALFORMED), which the caller tells as unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Any

import structlog

from bot.instrument import Instrument, Market, RiskTier
from bot.order import OrderKind, Side
from bot.ports import (
    Cause,
    Closed,
    Execution,
    NotPermitted,
    OpenOrder,
    Order,
    OrderState,
    Position,
    Transfer,
)

log = structlog.get_logger()

COIN = "USDT"  # in which every instrument of the bot settles, and its money is counted

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


SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}

# The position's own stop and target: the venue makes, resizes and removes them. They have no client order id.
PARTIAL_STOP = "PartialStopLoss"
OWN_STOPS = {"StopLoss", PARTIAL_STOP, "TrailingStop"}
OWN_TARGETS = {"TakeProfit", "PartialTakeProfit"}
OWN = {*OWN_STOPS, *OWN_TARGETS}

FUNDING = "Funding"
FORCED_TYPES = {"BustTrade", "AdlTrade", "Delivery", "Settle"}
FORCED_ORIGINS = {"CreateByLiq", "CreateByTakeOver_PassThrough", "CreateByAdl_PassThrough", "CreateBySettle"}
# Neither ours nor forced, and yet they move the position: a split of the contract, a block trade, a transfer of it.
OTHER_TYPES = {"BlockTrade", "MovePosition", "FutureSpread", "CorporateAction"}
_unknown_types: set[str] = set()


def number(text: Any) -> float:
    """A finite number of the venue, which writes them as words."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number")
    return value


def rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a list; a missing list is not an empty one."""
    found = answer["list"]
    if not isinstance(found, list):
        raise TypeError("the list is none")
    return found


def page(answer: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of a page, and the cursor of the next one, empty on the last."""
    cursor = answer.get("nextPageCursor") or ""
    if not isinstance(cursor, str):
        raise TypeError("the cursor is no word")
    return rows(answer), cursor


def _limit(text: Any) -> Decimal | None:
    """A limit of the instrument, None where the venue states none."""
    value = Decimal(str(text or 0))
    if not value.is_finite():
        raise ValueError(f"{text} is no limit")
    return value if value > 0 else None


def settles_in(row: dict[str, Any], market: Market) -> str:
    """Return the coin in which an instrument's profit is paid."""
    return str(row["quoteCoin"] if market is Market.SPOT else row["settleCoin"])


def instrument(
    row: dict[str, Any],
    market: Market,
    fees: tuple[Decimal, Decimal] | None,
    tiers: Sequence[RiskTier] = (),
    *,
    large_positions: bool = False,
) -> Instrument:
    """Translate an entry of instruments-info; fees and tiers are told elsewhere, and large positions are a choice."""
    lots = row["lotSizeFilter"]
    values: dict[str, Any] = {
        "symbol": row["symbol"],
        "market": market,
        "tick_size": row["priceFilter"]["tickSize"],
        "lot_size": lots["basePrecision"] if market is Market.SPOT else lots["qtyStep"],
        "min_quantity": lots["minOrderQty"],
        "min_notional": lots.get("minNotionalValue") or lots.get("minOrderAmt") or 0,
    }
    if market is Market.SPOT:
        values |= {
            "max_quantity": _limit(lots.get("maxLimitOrderQty")),
            "max_market_quantity": _limit(lots.get("maxMarketOrderQty")),
            "max_notional": _limit(lots.get("maxOrderAmt")),
        }
    else:
        values |= {
            "max_quantity": _limit(lots.get("maxOrderQty")),
            "max_market_quantity": _limit(lots.get("maxMktOrderQty")),
            "max_leverage": _limit(row.get("leverageFilter", {}).get("maxLeverage")),
            "price_band": _limit(row.get("riskParameters", {}).get("priceLimitRatioX")),
            "risk_tiers": tuple(tiers),
            "large_positions": large_positions,
        }
    if fees is not None:
        values |= {"maker_fee": fees[0], "taker_fee": fees[1]}
    return Instrument(**values)


def fees(answer: dict[str, Any]) -> tuple[Decimal, Decimal] | None:
    """Translate an answer of fee-rate: maker's and taker's, None where it tells none."""
    row = next(iter(rows(answer)), None)
    return None if row is None else (Decimal(row["makerFeeRate"]), Decimal(row["takerFeeRate"]))


def risk_tier(row: dict[str, Any]) -> RiskTier:
    """Translate a row of risk-limit."""
    return RiskTier(max_notional=Decimal(row["riskLimitValue"]), max_leverage=Decimal(row["maxLeverage"]))


def ticks(instrument_: Instrument, price: str) -> int:
    """Whole ticks of a price of the venue."""
    return round(Decimal(_word(price) or "0") / instrument_.tick_size)


def lots(instrument_: Instrument, quantity: str) -> int:
    """Whole lots of a quantity of the venue."""
    found = int(Decimal(_word(quantity) or "0") / instrument_.lot_size)
    if found < 0:
        raise ValueError(f"quantity {quantity} is negative")
    return found


def is_own(row: dict[str, Any]) -> bool:
    """Whether an order's row is the position's own stop or target."""
    if row.get("orderLinkId"):
        return False
    return row.get("stopOrderType") in OWN or made_as(row) in OWN


def open_order(row: dict[str, Any], of: Instrument) -> OpenOrder:
    """Translate an order."""
    trigger = row.get("triggerPrice") or ""
    stop = bool(trigger) and Decimal(trigger) > 0
    kind = OrderKind.STOP if stop else OrderKind.LIMIT if row["orderType"] == "Limit" else OrderKind.MARKET
    price = trigger if stop else row["price"] if kind == OrderKind.LIMIT else "0"
    return OpenOrder(
        client_order_id=_word(row["orderLinkId"]),
        side=SIDES[row["side"]],
        kind=kind,
        price=ticks(of, price),
        lots=lots(of, row["qty"]),
        filled=lots(of, row["cumExecQty"]),
        state=STATES.get(row["orderStatus"], OrderState.UNKNOWN),
        stop=ticks(of, row.get("stopLoss") or "0"),
        reduce_only=row.get("reduceOnly") is True,
    )


def made_as(row: dict[str, Any]) -> str:
    """What the venue made an order as, such as StopLoss."""
    return str(row.get("createType", "")).removeprefix("CreateBy")


def _word(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text} is no word")
    return text


def position(row: dict[str, Any], of: Instrument) -> Position:
    """Translate a row of one-way mode's position; a flat one has no side. The stream calls the average otherwise."""
    held = lots(of, row["size"])
    return Position(
        symbol=row["symbol"],
        lots=held * SIDES[row["side"]] if held else 0,
        stop=ticks(of, row["stopLoss"]),
        price=number(row["avgPrice" if "avgPrice" in row else "entryPrice"] or 0.0) if held else 0.0,
    )


def the_position(answer: dict[str, Any], of: Instrument) -> Position:
    """Translate position/list of one symbol; raises NotPermitted in hedge mode."""
    found = [row for row in rows(answer) if row["symbol"] == of.symbol]
    if any(is_hedge(row) for row in found):
        raise NotPermitted(hedge_sentence(of.symbol))
    return position(found[0], of) if found else Position(of.symbol)


def is_hedge(row: dict[str, Any]) -> bool:
    """Whether a position's row is one of hedge mode's two."""
    return int(row["positionIdx"]) != 0


def hedge_sentence(symbol: str) -> str:
    """Tell what to do about hedge mode."""
    return f"{symbol} is in hedge mode; switch the account to one-way mode at the venue."


def wallet(answer: dict[str, Any]) -> float:
    """Translate wallet-balance: the settlement coin's own row. Raises NotPermitted where the account has none."""
    accounts = rows(answer)
    if not accounts or accounts[0]["accountType"] != "UNIFIED":
        raise NotPermitted("the account is no unified trading account; upgrade it at the venue.")
    coins = accounts[0]["coin"]
    if not isinstance(coins, list):
        raise TypeError("the coins are no list")
    for row in coins:
        if row["coin"] == COIN:
            if row.get("walletBalance") in (None, ""):
                raise NotPermitted(
                    f"the venue tells no wallet balance of {COIN}; check that the account is a unified trading account."
                )
            return number(row["walletBalance"])
    return 0.0  # a coin of which nothing is held has no row


def held_at(row: dict[str, Any], of: Instrument | None) -> tuple[str, int, float] | None:
    """Translate a position's row to symbol, lots and what they cost, both signed; None for an unknown symbol."""
    if of is None:
        return None
    held = lots(of, row["size"])
    if not held:
        return of.symbol, 0, 0.0
    return of.symbol, held * SIDES[row["side"]], SIDES[row["side"]] * number(row["size"]) * number(row["avgPrice"])


TRANSFERS = {"TRANSFER_IN": 1.0, "TRANSFER_OUT": -1.0}  # and whether money came or left


def transfer(row: dict[str, Any]) -> Transfer | None:
    """Translate a row of the transaction log; None for what is no transfer of the settlement coin."""
    direction = TRANSFERS.get(row["type"])
    if direction is None or row["currency"] != COIN:
        return None
    return Transfer(_word(row["id"]), int(row["transactionTime"]), direction * abs(number(row["change"])))


def execution(row: dict[str, Any], of: Instrument, heard: float = 0.0) -> Execution | None:
    """Translate an execution, whatever moved the position or the money; None for an unknown kind without quantity."""
    kind = _word(row.get("execType", "Trade"))
    quantity = lots(of, row["execQty"])
    if _is_unknown(kind) and quantity == 0:
        return None
    cause = _cause(kind, row)
    price = ticks(of, row["execPrice"])
    if cause is Cause.FUNDING:
        quantity = 0
    elif quantity and price <= 0:
        raise ValueError("a fill without a price")
    return Execution(
        id=_word(row["execId"]),
        symbol=row["symbol"],
        client_order_id=_word(row["orderLinkId"]) if kind == "Trade" and cause is Cause.ORDER else "",
        side=SIDES.get(row["side"], Side.BUY) if cause is Cause.FUNDING else SIDES[row["side"]],
        price=price,
        lots=quantity,
        fee=number(row["execFee"] or 0.0),
        maker=row.get("isMaker") in (True, "true"),
        ts=int(row["execTime"]),
        cause=cause,
        heard=heard,
    )


def _is_unknown(kind: str) -> bool:
    if kind in {"Trade", FUNDING, *FORCED_TYPES, *OTHER_TYPES}:
        return False
    if kind not in _unknown_types:
        _unknown_types.add(kind)
        log.error("execution_of_unknown_kind", kind=kind[:40], remedy="it is booked if it has a quantity; look at it")
    return True


def _cause(kind: str, row: dict[str, Any]) -> Cause:
    if kind == FUNDING:
        return Cause.FUNDING
    origin = str(row.get("createType", ""))
    if kind in FORCED_TYPES or origin in FORCED_ORIGINS:
        return Cause.FORCED
    own = row.get("stopOrderType") in OWN_STOPS or origin.removeprefix("CreateBy") in OWN_STOPS
    return Cause.STOP if own and not row["orderLinkId"] else Cause.ORDER


def candles(answer: dict[str, Any]) -> list[tuple[int, float, float, float, float, float]]:
    """Translate an answer of kline: opening time (ms), open, high, low, close, volume of each."""
    found: list[Any] = rows(answer)
    return [(int(row[0]), *_five(row[1:6])) for row in found]


def _five(values: list[str]) -> tuple[float, float, float, float, float]:
    first, second, third, fourth, fifth = (number(one) for one in values)
    return first, second, third, fourth, fifth


def closed(symbol: str, row: dict[str, Any]) -> Closed | None:
    """Translate a candle of the stream; None while it still forms."""
    if not isinstance(row["confirm"], bool):
        raise TypeError("whether the candle has closed is not told")
    if not row["confirm"]:
        return None
    values = (number(row[name]) for name in ("open", "high", "low", "close", "volume"))
    return Closed(symbol, int(row["start"]), *values)


def carries_stop(category: str, order: Order) -> bool:
    """Whether the order is sent with the stop that the position gets by its first fill."""
    return category == "linear" and not order.reduce_only and order.stop > 0


def creation(category: str, order: Order, of: Instrument, listed: Instrument | None = None) -> dict[str, Any]:
    """Parameters of order/create; `listed`: the instrument as the venue has it now, where its steps are coarser."""
    request: dict[str, Any] = {
        "category": category,
        "symbol": of.symbol,
        "side": "Buy" if order.side == Side.BUY else "Sell",
        "orderType": "Limit" if order.kind == OrderKind.LIMIT else "Market",
        "qty": _quantity(order, of, listed),
        "orderLinkId": order.client_order_id,
    }
    if category == "linear":
        request |= {"positionIdx": 0, "reduceOnly": order.reduce_only}
    if order.kind == OrderKind.LIMIT:
        request |= {
            "price": price_text(order.price, of, listed),
            "timeInForce": "PostOnly" if order.post_only else "GTC",
        }
    if order.kind == OrderKind.STOP:
        request |= {
            "triggerPrice": price_text(order.price, of, listed),
            "triggerDirection": 1 if order.side == Side.BUY else 2,
            "triggerBy": "LastPrice",
        }
        if category == "spot":
            request["orderFilter"] = "StopOrder"
    if category == "spot" and order.kind != OrderKind.LIMIT:
        request["marketUnit"] = "baseCoin"
    if carries_stop(category, order):
        request |= {**_stop(order.stop, of, listed), "slOrderType": "Market"}
    return request


def amendment(category: str, order: Order, of: Instrument, listed: Instrument | None = None) -> dict[str, Any]:
    """Parameters of order/amend."""
    request = {"category": category, "symbol": of.symbol, "orderLinkId": order.client_order_id}
    if order.kind != OrderKind.MARKET:
        request["triggerPrice" if order.kind == OrderKind.STOP else "price"] = price_text(order.price, of, listed)
    if carries_stop(category, order):
        request |= _stop(order.stop, of, listed)
    return {**request, "qty": _quantity(order, of, listed)}


def position_stop(price: int, of: Instrument, listed: Instrument | None = None) -> dict[str, Any]:
    """Parameters of position/trading-stop; a price of 0 takes the stop away."""
    request = {"category": "linear", "symbol": of.symbol, "positionIdx": 0}
    return {**request, **_stop(price, of, listed), "slOrderType": "Market"}


def _stop(price: int, of: Instrument, listed: Instrument | None) -> dict[str, Any]:
    text = price_text(price, of, listed) if price else "0"
    return {"stopLoss": text, "tpslMode": "Full", "slTriggerBy": "LastPrice"}


def price_text(price: int, of: Instrument, listed: Instrument | None) -> str:
    """A price (ticks) as the venue takes it, in its present steps."""
    step = (listed or of).tick_size
    return format((of.price(price) / step).to_integral_value(ROUND_HALF_EVEN) * step, "f")


def _quantity(order: Order, of: Instrument, listed: Instrument | None) -> str:
    step = (listed or of).lot_size
    return format((of.quantity(order.lots) / step).to_integral_value(ROUND_DOWN) * step, "f")
