"""RSI dip, as docs/from_freqtrade.md translates it: buys a low RSI under the average; target, stop or high RSI."""

import numpy as np
from pydantic import Field

from bot.authoring import (
    EXIT_SL,
    EXIT_TP,
    FILL,
    LIMIT,
    MARKET,
    SIGNAL,
    STOP,
    WHOLE_POSITION,
    Fraction,
    Parameters,
    Strategy,
    affordable,
    order_ticks,
    clear_orders,
    enter,
    kernel,
    lots_for,
    set_order,
    talib,
    watch_nothing,
)


class RsiDipParameters(Parameters):
    stop: Fraction = Field(0.05, gt=0, lt=1, description="stop under the average entry, fraction")
    target: Fraction = Field(0.04, gt=0, lt=1, description="target above the average entry, fraction")


INPUTS = {"rsi": talib("RSI", timeperiod=14), "trend": talib("EMA", timeperiod=50)}


@kernel
def decide(pair, params, state, slots, event):
    watch_nothing(pair)  # minutes between two signal bars change nothing: stop and target rest
    position = pair.ledger.position
    if event.kind == FILL and position == 0:
        clear_orders(slots)
    elif event.kind == FILL:
        entry = pair.ledger.cost / (position * pair.instrument.lot_size)
        stop = order_ticks(pair, -1, entry * (1 - params.stop), True)
        target = order_ticks(pair, -1, entry * (1 + params.target), False)
        set_order(slots, 1, -1, STOP, stop, position, EXIT_SL, WHOLE_POSITION)
        set_order(slots, 2, -1, LIMIT, target, position, EXIT_TP, WHOLE_POSITION)
    elif event.kind == SIGNAL and position == 0:
        if event.inputs.rsi < 35.0 and event.bar.close < event.inputs.trend:
            enter(pair, slots, 0, 1, MARKET, 0, lots_for(pair, affordable(pair), pair.price), WHOLE_POSITION)
    elif event.kind == SIGNAL and event.inputs.rsi > 70.0:
        set_order(slots, 3, -1, MARKET, 0, position, EXIT_TP, WHOLE_POSITION)


STATE = np.dtype([("unused", "i8")])
RSI_DIP = Strategy(
    "rsi_dip", 1, RsiDipParameters, STATE, slots=lambda parameters: 4, decide=decide, own_stop=True, inputs=INPUTS
)
