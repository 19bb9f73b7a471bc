"""What an operator may say to a running portfolio, and how it is obeyed. Pure: it changes the desk alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from bot.errors import TradingError
from coordinator.portfolio import PortfolioState
from coordinator.risk import resume
from coordinator.vocabulary import Answer, HeldOff


class OperatorCommand(StrEnum):
    """The commands."""

    PAUSE = "pause"
    RESUME = "resume"
    HALT = "halt"
    CLOSE_ALL = "close-all"
    HOLD = "hold"
    REDUCE_50 = "reduce-50"


ANSWERS = {
    OperatorCommand.CLOSE_ALL: Answer.CLOSE_ALL,
    OperatorCommand.HOLD: Answer.HOLD,
    OperatorCommand.REDUCE_50: Answer.REDUCE_50,
}


class CommandRejected(TradingError):
    """A command that makes no sense at present; the sentence says why."""


def apply_command(
    portfolio_state: PortfolioState, word: OperatorCommand, index: int | None, now: int, *, force: bool = False
) -> str:
    """Carry a command out on the desk; `index` is the pair's, None for all. Returns what was done, in words.

    An answer to a halt halts first when nothing is halted. Raises CommandRejected.
    """
    portfolio, risk = portfolio_state.portfolio, portfolio_state.portfolio.risk
    portfolio.urged = True
    if word is OperatorCommand.PAUSE:
        return _hold_off(portfolio_state, index, held=True)
    if word is OperatorCommand.RESUME and not risk.halted:
        return _hold_off(portfolio_state, index, held=False)
    if index is not None:
        raise CommandRejected(f"{word} concerns the whole account; say it without --pair.")
    if word is OperatorCommand.RESUME:
        if not resume(risk, now, force):
            raise CommandRejected("this UTC day has seen a resume already; say --force to resume again.")
        return "resumed with the present equity as the new anchor; sizes are halved until midnight UTC"
    if not risk.halted:
        risk.halted, risk.halted_at, risk.answer = True, now, Answer.WAITING
    if word is not OperatorCommand.HALT:
        risk.answer = ANSWERS[word]
    return "halted: entries are withdrawn, stops and exits stay" + (
        "" if word is OperatorCommand.HALT else f"; answer {word}"
    )


def _hold_off(portfolio_state: PortfolioState, index: int | None, *, held: bool) -> str:
    chosen: Any = portfolio_state.routes if index is None else portfolio_state.routes[index : index + 1]
    for route in chosen:
        route.held_off = route.held_off | HeldOff.OPERATOR if held else 0
    return f"{'paused' if held else 'resumed'} {'all pairs' if index is None else 'the pair'}"
