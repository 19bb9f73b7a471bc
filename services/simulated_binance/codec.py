"""The market's things in Binance's words, as they stand in its answers and streams."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bot.instrument import Market

if TYPE_CHECKING:
    from bot.candles import Candles
    from bot.instrument import Instrument
    from services.simulated_market.public_trades import SimulatedTrade

QUOTES = ("USDT", "USDC", "FDUSD", "BTC")
NO_EXPIRY = 4_133_404_800_000  # ms: the delivery date that perpetual contracts have
LARGEST = "100000000"


def plain(value: Decimal) -> str:
    """A decimal without exponent or trailing zeros."""
    return format(value.normalize(), "f")


def number(value: float) -> str:
    """A float with every bit of it."""
    return repr(float(value))


def coins(symbol: str) -> tuple[str, str]:
    """Base and quote currency of a symbol."""
    quote = next((one for one in QUOTES if symbol.endswith(one)), "USDT")
    return symbol.removesuffix(quote), quote


def instrument(one: Instrument, trading: bool) -> dict[str, Any]:
    """An entry of exchangeInfo."""
    base, quote = coins(one.symbol)
    lot = {"minQty": plain(max(one.min_quantity, one.lot_size)), "maxQty": LARGEST, "stepSize": plain(one.lot_size)}
    price = {"minPrice": plain(one.tick_size), "maxPrice": LARGEST, "tickSize": plain(one.tick_size)}
    spot = one.market is Market.SPOT
    notional = {"filterType": "NOTIONAL", "minNotional": plain(one.min_notional)}
    common = {
        "symbol": one.symbol,
        "status": "TRADING" if trading else ("BREAK" if spot else "SETTLING"),
        "baseAsset": base,
        "quoteAsset": quote,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "filters": [
            {"filterType": "PRICE_FILTER", **price},
            {"filterType": "LOT_SIZE", **lot},
            notional if spot else {"filterType": "MIN_NOTIONAL", "notional": plain(one.min_notional)},
        ],
    }
    if spot:
        return {**common, "isSpotTradingAllowed": trading, "isMarginTradingAllowed": False, "permissions": ["SPOT"]}
    perpetual = {"pair": one.symbol, "contractType": "PERPETUAL", "deliveryDate": NO_EXPIRY, "marginAsset": quote}
    return {**common, **perpetual, "onboardDate": 1_569_398_400_000, "pricePrecision": 8, "quantityPrecision": 8}


def candle(candles: Candles, index: int) -> list[Any]:
    """A row of klines."""
    fields = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    start, turnover = int(candles.ts[index]), number(candles.volume[index] * candles.close[index])
    return [start, *(number(one[index]) for one in fields), start + candles.bar_ms - 1, turnover, 1, "0", "0", "0"]


def forming(candles: Candles, now: int) -> list[Any]:
    """The row of the minute that opens at `now`, of which only its first trade has happened."""
    index = int(candles.ts.searchsorted(now))
    price = number(candles.open[index] if index < len(candles) else candles.close[-1])
    return [now, price, price, price, price, "0.0", now + candles.bar_ms - 1, "0", 1, "0", "0", "0"]


def kline(symbol: str, row: list[Any], now: int, *, closed: bool = True) -> dict[str, Any]:
    """A candle as the stream tells it."""
    start, opened, high, low, close, volume, end, turnover, *_ = row
    told = {"t": start, "T": end, "s": symbol, "i": "1m", "f": 1, "L": 1, "o": opened, "c": close, "h": high, "l": low}
    told |= {"v": volume, "n": 1, "x": closed, "q": turnover, "V": "0", "Q": "0", "B": "0"}
    return {"e": "kline", "E": now, "s": symbol, "k": told}


def aggregate_trade(one: SimulatedTrade) -> dict[str, Any]:
    """A row of aggTrades."""
    told = {"p": number(one.price), "q": number(one.quantity), "m": one.direction < 0}
    return {**dict.fromkeys("afl", one.number), "T": one.ts, "M": True, **told}


def trade_event(symbol: str, one: SimulatedTrade, now: int) -> dict[str, Any]:
    """A trade as the stream tells it."""
    return {"e": "aggTrade", "E": now, "s": symbol, **aggregate_trade(one)}


def ticker(symbol: str, price: float, turnover: float, now: int) -> dict[str, Any]:
    """A row of ticker/24hr."""
    last = number(price)
    row = dict.fromkeys(("openPrice", "highPrice", "lowPrice", "lastPrice", "weightedAvgPrice", "prevClosePrice"), last)
    row |= dict.fromkeys(("priceChange", "priceChangePercent", "volume"), "0")
    return {"symbol": symbol, **row, "quoteVolume": number(turnover), "closeTime": now, "openTime": now, "count": 1}
