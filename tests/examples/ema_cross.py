"""EMA cross: long while the fast average is above the slow one, flat otherwise."""

import numpy as np
from pydantic import Field

from bot.authoring import (
    EMA,
    ENTRY,
    EXIT_TP,
    MARKET,
    SIGNAL,
    WHOLE_POSITION,
    Parameters,
    Strategy,
    affordable,
    ema_update,
    enter,
    kernel,
    lots_for,
    set_order,
    watch_nothing,
)


class EmaCrossParameters(Parameters):
    fast: int = Field(12, ge=2, le=500, description="fast EMA, signal bars")
    slow: int = Field(48, ge=2, le=500, description="slow EMA, signal bars")


@kernel
def decide(pair, params, state, slots, event):
    watch_nothing(pair)  # minutes between two signal bars change nothing
    if event.kind != SIGNAL:
        return
    ema_update(state.fast, event.bar.close, params.fast)
    ema_update(state.slow, event.bar.close, params.slow)
    above, position = state.fast.value > state.slow.value, pair.ledger.position
    if above and position == 0:
        enter(pair, slots, 0, 1, MARKET, 0, lots_for(pair, affordable(pair), pair.price), WHOLE_POSITION)
    elif not above and position > 0:
        set_order(slots, 1, -1, MARKET, 0, position, EXIT_TP, WHOLE_POSITION)


STATE = np.dtype([("fast", EMA), ("slow", EMA)])
EMA_CROSS = Strategy("ema_cross", 1, EmaCrossParameters, STATE, slots=lambda parameters: 2, decide=decide)
