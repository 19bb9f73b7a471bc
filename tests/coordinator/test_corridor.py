"""Where the simulator passes over the portfolio's evaluation, it would have changed nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.record import to_dict
from coordinator.config import load_config
from coordinator.machine import new_portfolio_state
from coordinator.portfolio import HOUR, quiet_equity_range, value_account
from coordinator.risk import modes

NOW = 1_704_067_200_000 // HOUR * HOUR + 7 * 60_000
PARAMS = load_config({"strategy": "auto", "pairs": ["BTCUSDT"], "auto": {"preset": "classic"}}).algorithm.record(
    ["BTCUSDT"]
)
share = st.floats(0.4, 1.6)


def desk_of(high, anchor, allocated, reduced, drawdown, halted, recent=1.0):
    portfolio = new_portfolio_state(1).portfolio
    risk = portfolio.risk
    risk.equity, risk.high, risk.anchor, risk.day = high, high, anchor, NOW // 86_400_000
    risk.recent_high = recent * high
    risk.reduced, risk.drawdown, risk.halted = reduced, drawdown, halted
    portfolio.allocated, portfolio.hour, portfolio.next_rebalance = allocated, NOW // HOUR, NOW + 3 * HOUR
    portfolio.modes = modes(risk)
    return portfolio


@settings(deadline=None)  # the first call compiles
@given(
    share,
    share,
    share,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.floats(0.6, 1.0),
    st.floats(0.0, 1.2),
    st.data(),
)
def test_inside_the_corridor_look_says_nothing_and_notes_the_equity_alone(
    high, anchor, allocated, reduced, drawdown, halted, recent, reserved, data
):
    high, reserved = max(high, anchor) * 1e4, reserved * 1e4
    portfolio = desk_of(high, anchor * 1e4, allocated * 1e4, reduced, drawdown, halted, recent)
    low, top, until = quiet_equity_range(PARAMS, portfolio, reserved)
    if low > top or until <= NOW:
        return
    now = data.draw(st.integers(NOW, until - 1))
    equity = data.draw(st.one_of(st.floats(low, top), st.just(low), st.just(top)))
    before = portfolio.copy()
    assert not value_account(PARAMS, portfolio, equity, 123.0, reserved, False, now)
    before.risk.equity, before.exposure = equity, 123.0
    assert to_dict(portfolio) == to_dict(before)


def test_the_corridor_is_no_narrower_than_it_must_be():
    """Quiet accounts are inside: flat at their high, and a little under it."""
    portfolio = desk_of(10_000.0, 10_000.0, 10_000.0, False, False, False)
    low, top, until = quiet_equity_range(PARAMS, portfolio, 0.0)
    assert top == 10_000.0
    assert low < 9_800.0
    assert until == NOW // HOUR * HOUR + HOUR
    assert value_account(PARAMS, portfolio, np.nextafter(low, 0.0) * 0.999, 0.0, 0.0, False, NOW)
