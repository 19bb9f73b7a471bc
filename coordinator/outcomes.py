"""How a pair's closed trades came out: the run of losses, and the sums by which its performance is measured."""

from __future__ import annotations

import numpy as np

from bot.kernel import Record, kernel

RECENT = 30  # trades that count at most
NEVER = np.iinfo(np.int64).max

OUTCOME = np.dtype([("ts", "i8"), ("profit", "f8")])
OUTCOMES = np.dtype(
    [
        ("recent", OUTCOME, (RECENT,)),
        ("count", "i8"),  # trades closed so far
        ("losing", "i8"),  # of them in a row, up to now
        ("summed", "i8"),  # trades closed when the sums were made
        ("age", "i8"),  # ms: how old a trade may be in them
        ("until", "i8"),  # ms: none of them is older before
        ("trades", "i8"),  # the sums
        ("wins", "i8"),
        ("gains", "f8"),  # quote currency
        ("losses", "f8"),  # positive
    ],
    align=True,
)


@kernel
def book_outcome(outcomes: Record, trade: Record, ts: int) -> None:
    """Remember a closed trade's profit, without funding."""
    profit = trade.side * (trade.exit_value - trade.entry_value) - trade.fees
    outcome = outcomes.recent[outcomes.count % RECENT]
    outcome.ts, outcome.profit = ts, profit
    outcomes.count += 1
    outcomes.losing = outcomes.losing + 1 if profit < 0.0 else 0


@kernel
def sum_outcomes(outcomes: Record, age: int, now: int) -> None:
    """Sum the recent trades that are not older than `age` at `now`, ms; made anew only where that may have changed."""
    if outcomes.summed == outcomes.count and outcomes.age == age and now <= outcomes.until:
        return
    outcomes.summed, outcomes.age, outcomes.until = outcomes.count, age, NEVER
    outcomes.trades = outcomes.wins = 0
    outcomes.gains = outcomes.losses = 0.0
    for index in range(min(outcomes.count, RECENT)):
        outcome = outcomes.recent[index]
        if outcome.ts < now - age:
            continue
        outcomes.until = min(outcomes.until, outcome.ts + age)
        outcomes.trades += 1
        if outcome.profit > 0.0:
            outcomes.wins += 1
            outcomes.gains += outcome.profit
        else:
            outcomes.losses -= outcome.profit
