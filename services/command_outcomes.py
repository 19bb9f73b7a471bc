"""What commands would do to a bot's positions and orders, asked beside the conversation: nobody waits long for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import Misconfigured, cut
from bot.ports import Unreachable

if TYPE_CHECKING:
    from services.sources import TwinAnswers
    from services.words import Words

log = structlog.get_logger()

STANDS_SECONDS = 45.0  # after which prices have moved, and it is asked anew where somebody looks
Outcome = dict[str, dict[str, Any]]  # by pair


@dataclass
class _Question:
    """What was asked of a bot, in which state and when."""

    state: str
    at: float
    task: asyncio.Task[dict[str, Outcome]]


class Outcomes:
    """The outcomes of commands, by bot."""

    def __init__(self, twins: Callable[[], TwinAnswers], clock: Callable[[], float]) -> None:
        self._twins, self._clock = twins, clock
        self._asked: dict[str, _Question] = {}
        self._told: dict[str, tuple[str, dict[str, Outcome]]] = {}  # with the state that they are of
        self._faults: dict[str, str] = {}

    def begin(self, now: dict[str, Any]) -> None:
        """Ask about a bot as it stands, unless that was asked a moment ago or is being answered."""
        bot, state, asked = now["bot"], _state(now), self._asked.get(now["bot"])
        if asked is not None and (
            not asked.task.done() or (asked.state == state and self._clock() - asked.at < STANDS_SECONDS)
        ):
            return
        prices = {one["pair"]: one["price"] for one in now["pairs"] if one["position"] or one["open_orders"]}
        self._asked[bot] = _Question(state, self._clock(), asyncio.create_task(self._ask(bot, state, prices)))

    async def _ask(self, bot: str, state: str, prices: dict[str, float]) -> dict[str, Outcome]:
        try:
            found = (await self._twins().command_outcomes(bot, prices))["commands"] if prices else {}
        except (Misconfigured, Unreachable) as error:
            log.info("outcomes_unknown", bot=bot, reason=cut(str(error)))
            self._faults[bot] = str(error)
            return {}
        self._faults.pop(bot, None)
        self._told[bot] = (state, found)
        return dict(found)

    def known(self, now: dict[str, Any], command: str) -> Outcome | None:
        """What a command would do to a bot as it stands; None where that is not known, or not any more."""
        state, found = self._told.get(now["bot"], ("", {}))
        return found.get(command, {}) if state == _state(now) else None

    def fault(self, bot: str) -> str:
        """Why it could not be asked last; empty where it could, or is being asked."""
        return self._faults.get(bot, "")

    async def wait(self, now: dict[str, Any], command: str, seconds: float) -> Outcome | None:
        """Ask, and wait so long at most for what a command would do; None where it is not known by then."""
        self.begin(now)
        task = self._asked[now["bot"]].task
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), seconds)
        return self.known(now, command)

    async def close(self) -> None:
        """Ask no more."""
        tasks = [one.task for one in self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def outcome_in_words(
    found: Outcome, words: Words, money: Callable[[float], str], signed: Callable[[float], str]
) -> str:
    """Say what a command would do to orders, positions and money, of all its pairs together."""
    pairs = list(found.values())
    total = {key: sum(one[key] for one in pairs) for key in ("entries_cancelled", "exits_cancelled", "closing_orders")}
    sums = {key: sum(one[key] for one in pairs) for key in ("closed_value", "realised", "fees")}
    parts = [
        words(f"outcome-{key}", count=total[key]) for key in ("entries_cancelled", "exits_cancelled") if total[key]
    ]
    if total["closing_orders"]:
        closing = {"value": money(sums["closed_value"]), "realised": signed(sums["realised"])}
        parts.append(words("outcome-closing", count=total["closing_orders"], fees=money(sums["fees"]), **closing))
    held = [one for one in pairs if one["position"]]
    value = money(sum(abs(one["position"]) * one["price"] for one in held))
    parts.append(words("outcome-held", count=len(held), value=value) if held else words("outcome-flat"))
    losses = [one["loss_at_stop"] for one in held if one["loss_at_stop"] is not None]
    if losses:
        parts.append(words("outcome-loss", loss=money(sum(losses))))
    if len(losses) < len(held):
        parts.append(words("outcome-unprotected", count=len(held) - len(losses)))
    return "; ".join(parts)


def _state(now: dict[str, Any]) -> str:
    """What an outcome depends on, except for prices."""
    held = sorted((one["pair"], one["position"], one["open_orders"], one["stop"]) for one in now["pairs"])
    return repr((held, now["halted"], now["answer"]))
