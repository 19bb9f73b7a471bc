"""What the page of a grid bot shows at an exchange: the profit of its cycles apart from what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from backtesting.metrics import YEAR_DAYS, last_worth, profits
from backtesting.trades import trades_of
from bot.order import Signal
from strategies.grid.parameters import Counter, GridParameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backtesting.simulator import Recording


class GridFigures(BaseModel):
    """Profit of a grid by where it came from. Money is quote currency, after fees and funding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grid_profit: float = Field(description="profit of closed cycles: an entry and its counter")
    other_profit: float = Field(description="profit of trades that a stop, a take-profit or a close ended")
    floating_profit: float = Field(description="profit of what is held, at the last close")
    cycles: int
    profit_per_cycle: float | None = Field(description="mean profit of a cycle")
    annualised_grid_pct: float | None = Field(description="grid profit / capital x 365 / days; from one day")
    break_even: dict[str, float | None] = Field(
        description="price at which everything together has earned nothing, by pair; none where nothing is held"
    )
    committed_pct: float | None = Field(
        description="share of its capital, with leverage, that all cells of a grid hold together; mean of the pairs"
    )


def grid_figures(
    recordings: Mapping[str, Recording], parameters: GridParameters, capital: float, days: float
) -> GridFigures:
    """Figures of a grid that traded these pairs with `capital` for `days`."""
    grid = other = floating = 0.0
    cycles = 0
    for one in recordings.values():
        trades = trades_of(one)
        profit = profits(trades, last_worth(one))
        closed = trades["held"] == 0
        counter = closed & (trades["exit_signal"] == Signal.GRID_COUNTER)
        grid += float(profit[counter].sum())
        other += float(profit[closed & ~counter].sum())
        floating += float(profit[~closed].sum())
        cycles += int(np.count_nonzero(counter))
    shares = [share for one in recordings.values() if (share := _committed(one, parameters)) is not None]
    return GridFigures(
        grid_profit=grid,
        other_profit=other,
        floating_profit=floating,
        cycles=cycles,
        profit_per_cycle=grid / cycles if cycles else None,
        annualised_grid_pct=grid / capital * YEAR_DAYS / days * 100.0 if days >= 1.0 else None,
        break_even={pair: _break_even(one) for pair, one in recordings.items()},
        committed_pct=float(np.mean(shares)) * 100.0 if shares else None,
    )


def _break_even(recording: Recording) -> float | None:
    """Find the price at which the equity of a pair would be what was paid in, before the fee of leaving."""
    ledger, instrument = recording.pair.ledger, recording.prepared.instrument
    position = int(ledger.position)
    if position == 0:
        return None
    earned = float(recording.equity()[-1]) - float(ledger.deposits)
    ticks = float(recording.prepared.close[recording.bars - 1]) - earned / (position * instrument.tick_value)
    return ticks * float(instrument.tick_size) if ticks > 0 else None


def _committed(recording: Recording, parameters: GridParameters) -> float | None:
    """Find the share of what its capital carries that all cells of the last grid hold together."""
    state: Any = recording.state
    own = state["grid"] if "grid" in state.dtype.names else state
    target, cell = float(own["target"]), float(own["cell_notional"])
    if target <= 0.0 or cell <= 0.0 or parameters.infinity:
        return None
    instrument = recording.pair.instrument
    carried = target / (1.0 / float(instrument.leverage) + 2.0 * max(float(instrument.taker_fee), 0.0))
    cells = parameters.levels - (parameters.counter is Counter.LEVEL)
    return cell * cells / carried
