"""How a running bot stands, as plain numbers and words: for `ctl status`, the terminal and the metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from backtesting.config import iso
from coordinator.phase import Phase
from coordinator.regime import Regime
from coordinator.risk import Mode, day_loss, drawdown
from coordinator.vocabulary import NOBODY, Answer, Family

if TYPE_CHECKING:
    from services.runtime.local import LocalRuntime


def status(runtime: LocalRuntime) -> dict[str, Any]:
    """Everything a person asks of a bot at a glance."""
    master = runtime.master
    assert master is not None
    desk = master.machine.desk
    risk = desk.portfolio.risk
    deposits = float(desk.portfolio.deposits)
    bits = int(desk.portfolio.modes)
    gateway = runtime.gateway
    return {
        "bot": runtime.name,
        "at": iso(master.at) if master.at else None,
        "equity": deposits + sum(float(one.equity) for one in desk.reports),
        "wallet": deposits + sum(float(one.settled) for one in desk.reports),
        "exposure": sum(float(one.exposure) for one in desk.reports),
        "day_loss_pct": 100.0 * float(day_loss(risk)),
        "drawdown_pct": 100.0 * float(drawdown(risk)),
        "modes": [str(mode.name).lower() for mode in Mode if bits & mode],
        "halted": bool(risk.halted),
        "answer": Answer(int(risk.answer)).name.lower() if risk.halted else None,
        "streams": {name: one.is_set() for name, one in gateway.hearing.items()},
        "stream_age_seconds": time.monotonic() - gateway.heard_at,
        "errors": {str(code): count for code, count in gateway.errors.items()},
        "pairs": [_pair(runtime, index, symbol) for index, symbol in enumerate(master.symbols)],
    }


def _pair(runtime: LocalRuntime, index: int, symbol: str) -> dict[str, Any]:
    assert runtime.master is not None
    desk, loop = runtime.master.machine.desk, runtime.loops[symbol]
    report, family = desk.reports[index], int(desk.reports[index].family)
    lots = int(report.position)
    return {
        "pair": symbol,
        "price": float(report.price),
        "regime": Regime(int(desk.regimes[index].confirmed)).name.lower(),
        "strategy": "cash" if family == NOBODY else Family(family).name.lower(),
        "phase": Phase(int(report.phase)).name.lower(),
        "held_off": bool(desk.routes[index].held_off),
        "target": float(desk.allocations[index].target),
        "position": float(loop.machine.instrument.quantity(lots)),
        "equity": float(report.equity),
        "exposure": float(report.exposure),
        "entries": int(report.entries),
        "exits": int(report.exits),
        "resting": len(loop.resting),
        "recovered": loop.recovered.is_set(),
        "corrections": loop.corrections,
    }
