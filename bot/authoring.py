"""Everything that a strategy of your own needs, under one name; the README shows one in thirty lines."""

from bot.costs import (
    CostParameters,
    entry_pays,
    pays,
    round_trip,
)
from bot.indicators import (
    ADX,
    ATR,
    BOLLINGER,
    EMA,
    RING,
    RSI,
    VOLUME,
    adx_update,
    atr_update,
    bollinger_update,
    ema_update,
    ring_highest,
    ring_lowest,
    ring_mean,
    ring_push,
    rsi_update,
    volume_update,
)
from bot.inputs import (
    python,
    talib,
)
from bot.kernel import (
    kernel,
)
from bot.order import (
    WHOLE_POSITION,
    OrderKind,
    Side,
    Signal,
    clear_order,
    clear_orders,
    set_order,
)
from bot.parameters import (
    Fraction,
    Number,
    Parameters,
)
from bot.strategy import (
    Event,
    Strategy,
    affordable,
    away,
    enter,
    equity_now,
    lots_for,
    watch_everything,
    watch_nothing,
)

BUY, SELL = int(Side.BUY), int(Side.SELL)
LIMIT, STOP, MARKET = int(OrderKind.LIMIT), int(OrderKind.STOP), int(OrderKind.MARKET)
ENTRY, GRID_COUNTER = int(Signal.ENTRY), int(Signal.GRID_COUNTER)
EXIT_TP, EXIT_SL = int(Signal.EXIT_TP), int(Signal.EXIT_SL)
BASE, SIGNAL, FILL, REFUSED = int(Event.BASE), int(Event.SIGNAL), int(Event.FILL), int(Event.REFUSED)

__all__ = [
    "ADX",
    "ATR",
    "BASE",
    "BOLLINGER",
    "BUY",
    "EMA",
    "ENTRY",
    "EXIT_SL",
    "EXIT_TP",
    "FILL",
    "GRID_COUNTER",
    "LIMIT",
    "MARKET",
    "REFUSED",
    "RING",
    "RSI",
    "SELL",
    "SIGNAL",
    "STOP",
    "VOLUME",
    "WHOLE_POSITION",
    "CostParameters",
    "Event",
    "Fraction",
    "Number",
    "OrderKind",
    "Parameters",
    "Side",
    "Signal",
    "Strategy",
    "adx_update",
    "affordable",
    "atr_update",
    "away",
    "bollinger_update",
    "clear_order",
    "clear_orders",
    "ema_update",
    "enter",
    "entry_pays",
    "equity_now",
    "kernel",
    "lots_for",
    "pays",
    "python",
    "ring_highest",
    "ring_lowest",
    "ring_mean",
    "ring_push",
    "round_trip",
    "rsi_update",
    "set_order",
    "talib",
    "volume_update",
    "watch_everything",
    "watch_nothing",
]
