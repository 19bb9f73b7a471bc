"""What an operator may say to a bot, and how the portfolio follows it. Pure: it changes the portfolio's state alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from bot.errors import Misconfigured, TradingError
from coordinator.capital_phase import enter_phase
from coordinator.portfolio import PortfolioState
from coordinator.risk import resume
from coordinator.vocabulary import HaltAnswer, HeldOff


class CommandKind(StrEnum):
    """What may be said."""

    PAUSE = "pause"
    RESUME = "resume"
    HALT = "halt"
    CLOSE_ALL = "close-all"
    HOLD = "hold"
    REDUCE_50 = "reduce-50"
    RELOAD = "reload"
    SET = "set"
    STOP = "stop"
    STOP_LEAVE_ENTRIES = "stop-leave-entries"
    SHUTDOWN = "shutdown"
    INVEST = "invest"
    CLOSE = "close"
    PHASE_UP = "phase-up"
    PHASE_DOWN = "phase-down"


PHASES = (CommandKind.PHASE_UP, CommandKind.PHASE_DOWN)
OF_THE_BOT = {
    CommandKind.RELOAD,
    CommandKind.SET,
    CommandKind.STOP,
    CommandKind.STOP_LEAVE_ENTRIES,
    CommandKind.SHUTDOWN,
}


@dataclass(frozen=True)
class OperatorCommand:
    """One command, of somebody, from somewhere; said again under the same `key`, it is not done again."""

    kind: CommandKind
    pair: str | None = None  # None: all
    force: bool = False
    who: str = ""
    source: str = ""  # ctl, console, telegram, …
    key: str = ""
    amount: float = 0.0  # invest: capital to add, negative to take out, quote currency; phases: share of the capital
    setting: str = ""  # set: key of the config, such as risk.halt_drawdown
    value: str = ""  # set: what it is to be, as the config writes it

    @classmethod
    def parse(
        cls, kind: str, pair: str | None = None, *, force: bool = False, amount: float = 0.0, **more: str
    ) -> OperatorCommand:
        """Read a command; `more` is who, source and key, setting and value. Raises Misconfigured for an unknown one."""
        if kind not in set(CommandKind):
            raise Misconfigured(f"command {kind[:200]!r} is unknown here; choose one of {', '.join(CommandKind)}.")
        if (kind == CommandKind.INVEST) != (amount != 0.0):
            raise Misconfigured(
                f"amount is {amount:g}; invest needs one, negative to take out, and nothing else has any."
            )
        setting, value = more.get("setting", ""), more.get("value", "")
        if (kind == CommandKind.SET) != bool(setting and value):
            raise Misconfigured(
                f"setting is {setting[:200]!r} and value is {value[:200]!r}; set needs both, and nothing else has any."
            )
        return cls(CommandKind(kind), pair, force, **more, amount=amount)


ANSWERS = {
    CommandKind.CLOSE_ALL: HaltAnswer.CLOSE_ALL,
    CommandKind.HOLD: HaltAnswer.HOLD,
    CommandKind.REDUCE_50: HaltAnswer.REDUCE_50,
}


class CommandRejected(TradingError):
    """A command that makes no sense at present; the sentence says why."""


def apply_command(
    portfolio_state: PortfolioState, params: Any, said: OperatorCommand, index: int | None, now: int
) -> str:
    """Carry a command out on the portfolio; `index` is the pair's, None for all. Returns what was done, in words.

    An answer to a halt halts first when nothing is halted. Raises CommandRejected.
    """
    portfolio, kind = portfolio_state.portfolio, said.kind
    portfolio.urged = True
    if kind is CommandKind.PAUSE:
        return _hold_off(portfolio_state, index, held=True)
    if kind is CommandKind.CLOSE:
        return _close(portfolio_state, index)
    if kind is CommandKind.RESUME and not portfolio.risk.halted:
        return _hold_off(portfolio_state, index, held=False)
    if index is not None:
        raise CommandRejected(f"{kind} concerns the whole account; say it without --pair.")
    if kind is CommandKind.INVEST:
        return _invest(portfolio, params, said.amount)
    if kind in PHASES:
        return _enter_phase(portfolio_state, said.amount, now)
    return _answer_halt(portfolio.risk, said, now)


def _answer_halt(risk: Any, said: OperatorCommand, now: int) -> str:
    """Halt, answer a halt, or end it."""
    kind = said.kind
    if kind is CommandKind.RESUME:
        if not resume(risk, now, said.force):
            raise CommandRejected("this UTC day has seen a resume already; say --force to resume again.")
        return "resumed with the present equity as the new anchor; sizes are halved until midnight UTC"
    if not risk.halted:
        risk.halted, risk.halted_at, risk.answer = True, now, HaltAnswer.WAITING
    if kind is not CommandKind.HALT:
        risk.answer = ANSWERS[kind]
    return "halted: entries are cancelled, stops and exits stay" + (
        "" if kind is CommandKind.HALT else f"; answer {kind}"
    )


def _enter_phase(portfolio_state: PortfolioState, share: float, now: int) -> str:
    if share == 0.0:
        raise CommandRejected("this bot has no capital phases; add bot.capital_phases to its config.")
    enter_phase(portfolio_state.portfolio, portfolio_state.reports, share, now)
    return f"{100.0 * share:g} % of the capital is at work" if share < 1.0 else "all of the capital is at work"


def _invest(portfolio: Any, params: Any, amount: float) -> str:
    """Let the next step add an amount to the capital; sizes follow it, and no money is moved."""
    if not params.fixed_shares or not np.isfinite(params.capital):
        raise CommandRejected("sizes follow the equity of the account already; deposit or withdraw at the exchange.")
    capital = float(params.capital + portfolio.invested + portfolio.investment) + amount
    if capital <= 0.0:
        raise CommandRejected(f"that would leave a capital of {capital:,.2f}; take out less.")
    portfolio.investment += amount
    equity = float(portfolio.risk.equity)
    done = f"the capital is {capital:,.2f} now"
    return done if capital <= equity else f"{done}; the account holds {equity:,.2f}, and no more than that is used"


def _close(portfolio_state: PortfolioState, index: int | None) -> str:
    """Pause a pair and close its position at the market."""
    if index is None:
        raise CommandRejected("close concerns one pair; say it with --pair, or close-all.")
    if int(portfolio_state.reports[index].position) == 0:
        raise CommandRejected("the pair holds no position; pause it to cancel its entries.")
    directive: Any = portfolio_state.directives[index]
    directive.trim_id += 1
    directive.trim_to = 0.0
    return f"{_hold_off(portfolio_state, index, held=True)}; its position is closed at the market"


def _hold_off(portfolio_state: PortfolioState, index: int | None, *, held: bool) -> str:
    chosen: Any = portfolio_state.routes if index is None else portfolio_state.routes[index : index + 1]
    for route in chosen:
        route.held_off = route.held_off | HeldOff.OPERATOR if held else 0
    return f"{'paused' if held else 'resumed'} {'all pairs' if index is None else 'the pair'}"
