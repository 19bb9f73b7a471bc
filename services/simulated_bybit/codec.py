"""The venue's things in Bybit's v5 words: plain dicts of strings, as they stand in its answers and streams."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bot.instrument import Market, RiskTier
from bot.order import OrderKind, Side
from bot.times import MINUTE
from services.simulated_bybit import stops
from services.simulated_bybit.checks import LARGEST, STEEPEST
from services.simulated_bybit.records import LIVE, PARTIAL_STOP, STOP_LOSS, TAKE_PROFIT, Trade

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from services.simulated_bybit.book import Book
    from services.simulated_bybit.exchange import Exchange
    from services.simulated_bybit.records import LogRow, VenueOrder
    from services.simulated_market.public_trades import SimulatedTrade

QUOTES = ("USDT", "USDC", "USD")


def plain(value: Decimal) -> str:
    """A decimal without exponent or trailing zeros."""
    text = format(value.normalize(), "f")
    return text or "0"


def number(value: float) -> str:
    """A float with every bit of it."""
    return repr(float(value))


def side(signed: int) -> str:
    """Buy or Sell."""
    return "Buy" if signed == Side.BUY else "Sell"


def coins(symbol: str) -> tuple[str, str]:
    """Base and quote currency of a symbol."""
    quote = next((one for one in QUOTES if symbol.endswith(one)), "USDT")
    return symbol.removesuffix(quote), quote


def instrument(one: Instrument, trading: bool) -> dict[str, Any]:
    """An entry of instruments-info."""
    base, quote = coins(one.symbol)
    lot = {
        "minOrderQty": plain(max(one.min_quantity, one.lot_size)),
        "maxOrderQty": plain(one.max_quantity or LARGEST),
        "maxMktOrderQty": plain(one.max_market_quantity or LARGEST),
        "minNotionalValue": plain(one.min_notional),
    }
    common = {
        "symbol": one.symbol,
        "baseCoin": base,
        "quoteCoin": quote,
        "status": "Trading" if trading else "Closed",
        "priceFilter": {
            "minPrice": plain(one.tick_size),
            "maxPrice": "100000000",
            "tickSize": plain(one.tick_size),
        },
    }
    if one.market is Market.SPOT:
        lot |= {
            "basePrecision": plain(one.lot_size),
            "quotePrecision": "0.00000001",
            "minOrderAmt": plain(one.min_notional),
            "maxOrderAmt": plain(one.max_notional or LARGEST),
        }
        return {**common, "innovation": "0", "marginTrading": "none", "lotSizeFilter": lot}
    band = (
        {} if one.price_band is None else dict.fromkeys(("priceLimitRatioX", "priceLimitRatioY"), plain(one.price_band))
    )
    return {
        **common,
        "contractType": "LinearPerpetual",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(max(-int(one.tick_size.as_tuple().exponent), 0)),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": format(one.max_leverage or STEEPEST, ".2f"),
            "leverageStep": "0.01",
        },
        "lotSizeFilter": {**lot, "qtyStep": plain(one.lot_size), "postOnlyMaxOrderQty": lot["maxOrderQty"]},
        "riskParameters": band,
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": quote,
        "copyTrading": "none",
        "isPreListing": False,
    }


def risk_tiers(one: Instrument) -> list[dict[str, Any]]:
    """Entries of risk-limit; one without an end where the instrument states none."""
    steepest = one.max_leverage or STEEPEST
    tiers = one.risk_tiers or (RiskTier(max_notional=LARGEST, max_leverage=steepest),)
    return [
        {
            "id": number_,
            "symbol": one.symbol,
            "riskLimitValue": plain(tier.max_notional),
            "maintenanceMargin": plain(one.maintenance_margin),
            "initialMargin": plain(1 / tier.max_leverage),
            "isLowestRisk": int(number_ == 1),
            "maxLeverage": format(tier.max_leverage, ".2f"),
            "mmDeduction": "",
        }
        for number_, tier in enumerate(tiers, 1)
    ]


def order(one: VenueOrder, book: Book, category: str) -> dict[str, Any]:
    """An order, as lists and the stream show it."""
    what, stop = book.instrument, one.price > 0 and _is_stop(one)
    average = one.value / (one.filled * float(what.lot_size)) if one.filled else 0.0
    left = what.quantity(one.lots - one.filled) if one.status in LIVE else Decimal(0)
    return {
        "category": category,
        "orderId": one.id,
        "orderLinkId": one.client_order_id,
        "symbol": one.symbol,
        "side": side(one.side),
        "orderType": "Limit" if one.kind == OrderKind.LIMIT else "Market",
        "price": plain(what.price(one.price)) if one.kind == OrderKind.LIMIT else "0",
        "qty": plain(what.quantity(one.lots)),
        "orderStatus": one.status,
        "rejectReason": one.reason,
        "cancelType": one.cancel_type,
        "avgPrice": number(average) if one.filled else "",
        "cumExecQty": plain(what.quantity(one.filled)),
        "cumExecValue": number(one.value),
        "cumExecFee": number(one.fee),
        "leavesQty": plain(left),
        "leavesValue": "0",
        "timeInForce": "PostOnly" if one.post_only else ("GTC" if one.kind == OrderKind.LIMIT else "IOC"),
        "reduceOnly": one.reduce_only,
        "closeOnTrigger": bool(one.stop_type),
        "positionIdx": 0,
        "isLeverage": "",
        "stopOrderType": one.stop_type or ("Stop" if stop else ""),
        "orderFilter": "StopOrder" if stop or one.stop_type else "Order",
        "createType": one.created_by,
        "parentOrderLinkId": one.parent,
        "tpslMode": "Partial" if one.stop_type == PARTIAL_STOP else "Full" if one.stop or one.stop_type else "",
        "triggerPrice": plain(what.price(one.price)) if stop else "",
        "triggerDirection": (1 if one.side == Side.BUY else 2) if stop else 0,
        "triggerBy": "LastPrice" if stop else "",
        "takeProfit": "",
        "stopLoss": plain(what.price(one.stop)) if one.stop else "",
        "tpTriggerBy": "",
        "slTriggerBy": one.stop_by,
        "createdTime": str(one.created),
        "updatedTime": str(one.updated),
        "placeType": "",
        "smpType": "None",
    }


def _is_stop(one: VenueOrder) -> bool:
    return one.kind == OrderKind.STOP or one.status in ("Untriggered", "Triggered") or one.kind == OrderKind.MARKET


def execution(one: Trade, book: Book, category: str) -> dict[str, Any]:
    """An execution, or a payment of funding."""
    what = book.instrument
    _, quote = coins(one.symbol)
    quantity, price = what.quantity(one.lots), what.price(one.price)
    return {
        "category": category,
        "symbol": one.symbol,
        "execId": one.id,
        "orderId": one.order,
        "orderLinkId": one.client_order_id,
        "side": side(one.side),
        "execType": one.kind,
        "execPrice": plain(price),
        "execQty": plain(quantity),
        "execValue": plain(quantity * price),
        "execFee": number(one.fee),
        "feeCurrency": quote,
        "feeRate": plain(what.maker_fee if one.maker else what.taker_fee),
        "isMaker": one.maker,
        "leavesQty": plain(what.quantity(one.left)),
        "orderPrice": plain(price),
        "orderQty": plain(quantity),
        "orderType": "UNKNOWN" if one.kind == "Funding" else "Limit" if one.maker else "Market",
        "stopOrderType": one.stop_type or "UNKNOWN",
        "createType": one.created_by,
        "closedSize": plain(what.quantity(one.closed)),
        "execPnl": number(one.realised),
        "execTime": str(one.ts),
        "seq": int(one.id.rsplit("-", 1)[1]),
    }


def position(book: Book, index: int = 0, average_name: str = "avgPrice") -> dict[str, Any]:
    """A row of the symbol's position: the one of one-way mode (0), or hedge mode's for buys (1) and for sells (2).

    `average_name`: the list calls the average price avgPrice, the stream entryPrice.
    """
    what, ledger = book.instrument, book.pair.ledger
    lots = book.position if index == 0 or (book.position > 0) == (index == 1) else 0
    mark = book.here * float(what.tick_size)
    average = float(ledger.cost) / (lots * float(what.lot_size)) if lots else 0.0
    worth = abs(lots) * float(what.lot_size) * mark
    return {
        "positionIdx": index,
        "riskId": 1,
        "riskLimitValue": "1000000000",
        "symbol": what.symbol,
        "side": side(1 if lots > 0 else -1) if lots else "",
        "size": plain(what.quantity(abs(lots))),
        average_name: number(average),
        "positionValue": number(worth),
        "tradeMode": 0,
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "leverage": plain(Decimal(repr(float(book.pair.instrument.leverage)))),
        "markPrice": number(mark),
        "liqPrice": "",
        "bustPrice": "",
        "positionMM": number(worth * float(what.maintenance_margin)),
        "positionIM": number(worth / float(book.pair.instrument.leverage)),
        "tpslMode": "Full",
        "takeProfit": _own_price(book, TAKE_PROFIT) if lots else "",
        "stopLoss": _own_price(book, STOP_LOSS) if lots else "",
        "trailingStop": "0",
        "unrealisedPnl": number(book.worth - book.realised),
        "cumRealisedPnl": number(book.realised),
        "createdTime": "0",
        "updatedTime": str(int(book.pair.time)),
        "isReduceOnly": False,
        "adlRankIndicator": 0,
        "seq": book.trades,
    }


def _own_price(book: Book, stop_type: str) -> str:
    ticks = stops.price(book, stop_type)
    return plain(book.instrument.price(ticks)) if ticks else ""


def wallet(exchange: Exchange, asked: tuple[str, ...] = ()) -> dict[str, Any]:
    """The unified account: totals in USD over all coins, and a row for each that is not zero or is `asked` for."""
    balance, worth, rate = exchange.wallet, exchange.equity, exchange.usdt_usd
    held = {"USDT": (balance, worth, rate), **{coin: (one[0], *one) for coin, one in exchange.coins.items()}}
    names = asked or tuple(coin for coin, (amount, whole, _) in held.items() if amount or whole)
    rows = [_coin(coin, *held.get(coin, (0.0, 0.0, 0.0)), exchange.capital) for coin in names]
    others = sum(amount * price for amount, price in exchange.coins.values())
    total = {
        "totalEquity": number(worth * rate + others),
        "totalWalletBalance": number(balance * rate + others),
        "totalMarginBalance": number(worth * rate + others),
        "totalAvailableBalance": number(worth * rate + others),
        "totalPerpUPL": number((worth - balance) * rate),
        "totalInitialMargin": "0",
        "totalMaintenanceMargin": "0",
        "accountIMRate": "0",
        "accountMMRate": "0",
    }
    if not exchange.unified:  # a classic account has no totals, only coins
        return {"accountType": "CONTRACT", **dict.fromkeys(total, ""), "coin": rows}
    return {"accountType": "UNIFIED", **total, "coin": rows}


def _coin(coin: str, balance: float, worth: float, usd: float, deposited: float) -> dict[str, Any]:
    return {
        "coin": coin,
        "equity": number(worth),
        "usdValue": number(worth * usd),
        "walletBalance": number(balance),
        "unrealisedPnl": number(worth - balance),
        "locked": "0",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "bonus": "0",
        "availableToWithdraw": "",
        "cumRealisedPnl": number(balance - deposited if coin == "USDT" else 0.0),
        "totalOrderIM": "0",
        "totalPositionIM": "0",
        "totalPositionMM": "0",
        "marginCollateral": True,
        "collateralSwitch": True,
    }


def log_row(one: LogRow, book: Book | None, category: str) -> dict[str, Any]:
    """A row of the transaction log; `book` is that of its trade, None for a transfer."""
    row = {
        "id": one.id,
        "symbol": "",
        "category": "",
        "side": "None",
        "transactionTime": str(one.ts),
        "type": one.type,
        "transSubType": "",
        "qty": "0",
        "size": "",
        "currency": one.currency,
        "tradePrice": "0",
        "funding": number(one.funding) if one.funding else "",
        "fee": number(one.fee),
        "cashFlow": number(one.cash_flow),
        "change": number(one.change),
        "cashBalance": number(one.balance),
        "feeRate": "",
        "bonusChange": "",
        "tradeId": "",
        "orderId": "",
        "orderLinkId": "",
    }
    if one.trade is None or book is None:
        return row
    trade, what = one.trade, book.instrument
    return row | {
        "symbol": trade.symbol,
        "category": category,
        "side": side(trade.side),
        "qty": plain(what.quantity(trade.lots)),
        "tradePrice": plain(what.price(trade.price)),
        "tradeId": trade.id,
        "orderId": trade.order,
        "orderLinkId": trade.client_order_id,
    }


def candle(book: Book, index: int) -> list[str]:
    """A row of the kline list."""
    candles = book.candles
    fields = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    row = [number(one[index]) for one in fields]
    return [str(int(candles.ts[index])), *row, number(candles.volume[index] * candles.close[index])]


def forming(book: Book, now: int) -> list[str]:
    """The row of the minute that has just begun."""
    price = number(book.here * float(book.instrument.tick_size))
    return [str(now), price, price, price, price, "0", "0"]


def kline(book: Book, index: int) -> dict[str, Any]:
    """A closed candle as the stream tells it."""
    start, open_, high, low, close, volume, turnover = candle(book, index)
    end = int(start) + book.candles.bar_ms
    return {
        "start": int(start),
        "end": end - 1,
        "interval": str(book.candles.bar_ms // MINUTE),
        "open": open_,
        "close": close,
        "high": high,
        "low": low,
        "volume": volume,
        "turnover": turnover,
        "confirm": True,
        "timestamp": end,
    }


def public_trade(book: Book, one: SimulatedTrade) -> dict[str, Any]:
    """A trade of others as the stream tells it."""
    told = {"T": one.ts, "s": book.instrument.symbol, "S": "Buy" if one.direction > 0 else "Sell", "BT": False}
    name = f"{one.ts:013x}-{one.number}"  # which, as Bybit's, tells nothing of its place
    return {**told, "i": name, "v": number(one.quantity), "p": number(one.price)}


def recent_trade(book: Book, one: SimulatedTrade) -> dict[str, Any]:
    """A row of the list of recent trades."""
    told = public_trade(book, one)
    named = {"execId": told["i"], "symbol": told["s"], "price": told["p"], "size": told["v"], "side": told["S"]}
    return {**named, "time": str(told["T"]), "isBlockTrade": False}


def ticker(book: Book) -> dict[str, Any]:
    """What the symbol is traded at now."""
    tick = book.instrument.tick_size
    last = number(book.here * float(tick))
    at, rate = book.next_settlement
    return {
        "symbol": book.instrument.symbol,
        "lastPrice": last,
        "indexPrice": last,
        "markPrice": last,
        "bid1Price": plain(tick * int(book.here)),
        "bid1Size": "1",
        "ask1Price": plain(tick * (int(book.here) + 1)),
        "ask1Size": "1",
        "prevPrice24h": last,
        "price24hPcnt": "0",
        "highPrice24h": last,
        "lowPrice24h": last,
        "turnover24h": "0",
        "volume24h": "0",
        "openInterest": "0",
        "fundingRate": number(rate),
        "nextFundingTime": str(at),
        # By this, stock clients tell a contract from a coin.
        **({} if book.instrument.market is Market.SPOT else {"openInterestValue": "0"}),
    }
