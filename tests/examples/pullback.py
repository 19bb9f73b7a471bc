"""Pullback: buys a low RSI while the price is above the hour's average, and leaves at a high one."""

import numpy as np
from pydantic import Field

from bot.authoring import (
    ENTRY,
    EXIT_TP,
    MARKET,
    SIGNAL,
    WHOLE_POSITION,
    Parameters,
    Strategy,
    affordable,
    enter,
    kernel,
    lots_for,
    talib,
    set_order,
    watch_nothing,
)


class PullbackParameters(Parameters):
    length: int = Field(14, ge=2, le=200, description="RSI, signal bars")
    average: int = Field(20, ge=2, le=200, description="average of the price, hours")
    low: float = Field(40.0, gt=0, lt=100, description="RSI below which it buys, points")
    high: float = Field(60.0, gt=0, lt=100, description="RSI above which it sells, points")


def inputs(parameters):
    return {
        "rsi": talib("RSI", timeperiod=parameters.length),
        "average": talib("EMA", timeperiod=parameters.average, timeframe="1h"),
    }


@kernel
def decide(pair, params, state, slots, event):
    watch_nothing(pair)  # minutes between two signal bars change nothing
    if event.kind != SIGNAL:
        return
    rsi, position = event.inputs.rsi, pair.ledger.position
    if position == 0 and rsi < params.low and event.bar.close > event.inputs.average:
        enter(pair, slots, 0, 1, MARKET, 0, lots_for(pair, affordable(pair), pair.price), WHOLE_POSITION)
    elif position > 0 and rsi > params.high:
        set_order(slots, 1, -1, MARKET, 0, position, EXIT_TP, WHOLE_POSITION)


STATE = np.dtype([("unused", "i8")])
PULLBACK = Strategy("pullback", 1, PullbackParameters, STATE, slots=lambda parameters: 2, decide=decide, inputs=inputs)
