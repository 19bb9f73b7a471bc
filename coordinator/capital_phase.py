"""A phase of the capital: which share of it is at work, and what has become of it. The portfolio knows no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bot.kernel import Record, kernel

if TYPE_CHECKING:
    from coordinator.bot_status import CapitalPhaseStatus

PHASE = np.dtype(
    [
        ("share", "f8"),  # of the capital that is at work; 0: there are no phases, so all of it
        ("since", "i8"),  # ms
        ("high", "f8"),  # highest equity in the phase, and deepest fall under it as a share of the capital at work
        ("fall", "f8"),
        ("trades", "i8"),  # that were closed before it
        ("trim", "b1"),  # it was lowered, so that positions are to be trimmed
    ],
    align=True,
)


@kernel
def at_work(portfolio: Record) -> float:
    """Share of the capital that is used."""
    return portfolio.phase.share if portfolio.phase.share > 0.0 else 1.0


def enter_phase(portfolio: Any, reports: Any, share: float, now: int) -> None:
    """Let a share of the capital be at work from now on; 0 ends all phases. Targets and sizes follow at the next step.

    Where it is less than before, positions are trimmed to it.
    """
    phase, lowered = portfolio.phase, 0.0 < share < float(at_work(portfolio))
    phase.share, phase.since, phase.high, phase.fall = share, now, portfolio.risk.equity, 0.0
    phase.trades, phase.trim = _trades(reports), lowered and portfolio.allocated > 0.0
    portfolio.allocated, portfolio.urged = 0.0, True


def note_phase(portfolio: Any) -> None:
    """Take the present equity into the high and the fall of the phase."""
    phase, equity = portfolio.phase, float(portfolio.risk.equity)
    phase.high = max(float(phase.high), equity)
    if phase.share > 0.0 and phase.high > 0.0:
        phase.fall = max(float(phase.fall), (float(phase.high) - equity) / (float(phase.share) * float(phase.high)))


def phase_status(portfolio: Any, reports: Any) -> CapitalPhaseStatus | None:
    """How the phase stands; None where there is none."""
    if portfolio.phase.share == 0.0:
        return None
    return {
        "share": float(portfolio.phase.share),
        "since": int(portfolio.phase.since),
        "trades": max(_trades(reports) - int(portfolio.phase.trades), 0),
        "drawdown": float(portfolio.phase.fall),
    }


def _trades(reports: Any) -> int:
    return sum(int(report.trades) for report in reports)
