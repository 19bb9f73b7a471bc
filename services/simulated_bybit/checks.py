"""What the venue refuses, in Bybit's words: names, sizes, prices, money, and stops on the wrong side."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from bot.order import OrderKind, Side

if TYPE_CHECKING:
    from services.simulated_bybit.roles import SymbolBook, TradingAccount

MOST_ORDERS = 500  # live ones per symbol
LARGEST = Decimal(1_000_000_000)  # quantity or value, where the instrument states no limit
STEEPEST = Decimal(125)  # leverage, likewise


class BybitRefusal(Exception):
    """A refusal in Bybit's words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def refuse_wrong(
    exchange: TradingAccount, book: SymbolBook, side: int, kind: int, price: int, lots: int, client_order_id: str
) -> None:
    """Refuse an order for what it is, whatever the account holds."""
    if client_order_id and client_order_id in exchange.client_order_ids:
        exchange.duplicates += 1
        raise BybitRefusal(110072, "OrderLinkedID is duplicate")
    if kind != OrderKind.MARKET and price <= 0:
        raise BybitRefusal(110003, "Order price exceeds the allowable range.")
    if lots <= 0 or book.instrument.quantity(lots) < exchange.instruments[book.instrument.symbol].min_quantity:
        raise BybitRefusal(10001, "The number of contracts below minimum limit allowed")
    if len(book.live) >= MOST_ORDERS:
        raise BybitRefusal(110020, "Not allowed to have more than 500 active orders")
    if kind == OrderKind.LIMIT:
        refuse_outside_band(exchange, book, side, price)


def refuse_too_large(exchange: TradingAccount, book: SymbolBook, kind: int, price: int, lots: int) -> None:
    """Refuse more than one order may be; a reduce-only order is split instead, and is not to be asked this."""
    listed = exchange.instruments[book.instrument.symbol]
    most = (listed.max_quantity if kind == OrderKind.LIMIT else listed.max_market_quantity) or LARGEST
    quantity = book.instrument.quantity(lots)
    if quantity > most:
        sizes = f"order_qty:{int(quantity * 10**8)} > max_qty:{int(most * 10**8)}"
        raise BybitRefusal(10001, f"The number of contracts exceeds maximum limit allowed: too large, {sizes}")
    worth = lots * (price or book.here) * float(book.pair.instrument.tick_value)
    if listed.max_notional is not None and worth > float(listed.max_notional):
        raise BybitRefusal(110090, "Order placement failed as your position may exceed the max limit")


def refuse_above_tier(exchange: TradingAccount, book: SymbolBook, side: int, price: int, lots: int) -> None:
    """Refuse `lots` more on this side where position and orders then exceed the risk tier of the leverage."""
    tier = exchange.instruments[book.instrument.symbol].max_position_notional(float(book.pair.instrument.leverage))
    open_orders = sum(
        (one.lots - one.filled) * (one.price or book.here)
        for one in book.live
        if one.side == side and not one.reduce_only
    )
    value = max(book.position * side, 0) * book.here + open_orders + lots * (price or book.here)
    if value * float(book.pair.instrument.tick_value) > tier:
        raise BybitRefusal(110090, "Order placement failed as your position may exceed the max limit")


def refuse_outside_band(exchange: TradingAccount, book: SymbolBook, side: int, price: int) -> None:
    """Refuse a limit that buys too far above the mark or sells too far below it; triggers have no band."""
    band = exchange.instruments[book.instrument.symbol].price_band
    if band is not None and side * (price - book.here) > float(band) * book.here:
        raise BybitRefusal(110003, "Order price exceeds the allowable range.")


def refuse_unpayable(exchange: TradingAccount, book: SymbolBook, price: int, lots: int) -> None:
    """Refuse what an order that may open a position lacks."""
    if book.instrument.symbol in exchange.closed:
        raise BybitRefusal(110023, "Currently you can only reduce your position")
    worth = lots * (price or book.here) * float(book.pair.instrument.tick_value)
    if worth < float(exchange.instruments[book.instrument.symbol].min_notional):
        raise BybitRefusal(110094, "Order does not meet minimum order value")
    if worth / exchange.leverage > max(exchange.equity, 0.0) + abs(book.worth):
        raise BybitRefusal(110007, "ab not enough for new order")


def refuse_stop(book: SymbolBook, side: int, stop: int, base: float) -> None:
    """Refuse a stop that is not on the losing side of `base` (ticks) for a position of `side`."""
    if side * (base - stop) <= 0:
        than = "lower" if side > 0 else "greater"
        raise BybitRefusal(10001, f"StopLoss:{_sides(book, side, stop, than, base)}")


def refuse_target(book: SymbolBook, side: int, target: int, base: float) -> None:
    """Refuse a target that is not on the winning side of `base` (ticks)."""
    if side * (target - base) <= 0:
        than = "higher" if side > 0 else "lower"
        raise BybitRefusal(10001, f"TakeProfit:{_sides(book, side, target, than, base)}")


def _sides(book: SymbolBook, side: int, price: int, than: str, base: float) -> str:
    tick = float(book.instrument.tick_size) * 1e4  # Bybit shows prices as whole ten-thousandths
    name = "Buy" if side == Side.BUY else "Sell"
    what = f"{round(price * tick)} set for {name} position should {than} than base_price:{round(base * tick)}"
    return f"{what}??LastPrice"
