"""What is wrong with a bot, as seen from outside.

Pure: what was seen and the time (seconds) arrive with every call. It never says that something is well while it
cannot know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.alert_conditions import by_id
from services.watchdog.notices import Notice, SaidConditions

NEGLIGIBLE = 1e-9  # of a position, relative


class BotTrouble(StrEnum):
    """What the watchdog knows to notice."""

    SILENT = "silent"  # the bot does not say how it stands
    UNRECONCILED = "unreconciled"  # a pair has not been compared with the exchange
    FILLS_UNKNOWN = "fills_unknown"  # the exchange holds another position than the bot believes
    EQUITY_OFF = "equity_off"  # the exchange has another equity than the bot believes
    BLIND = "blind"  # the exchange does not answer the watchdog
    HALTED = "halted"  # and waits for its operator's decision
    HELD_OFF = "held_off"  # a pair opens nothing, for another reason than its operator's word


# What the bot's own messages tell too, to the users of Telegram.
TOLD_BY_THE_BOT = (BotTrouble.HALTED, BotTrouble.HELD_OFF)


@dataclass(frozen=True)
class WatchLimits:
    """How long something may be wrong, seconds, and how far equity may be off, percent."""

    silent: float = by_id(BotTrouble.SILENT).seconds
    unreconciled: float = by_id(BotTrouble.UNRECONCILED).threshold
    fills_unknown: float = by_id(BotTrouble.FILLS_UNKNOWN).seconds
    equity_off: float = by_id(BotTrouble.EQUITY_OFF).seconds
    blind: float = by_id(BotTrouble.BLIND).seconds
    halted: float = by_id(BotTrouble.HALTED).seconds
    held_off: float = by_id(BotTrouble.HELD_OFF).seconds
    equity_off_pct: float = 5.0
    repeat: float = 3600.0

    def patience(self, condition: BotTrouble) -> float:
        """Return how long a condition may last before it is said; an age that is measured has waited already."""
        return 0.0 if condition is BotTrouble.UNRECONCILED else float(getattr(self, condition.value))


@dataclass(frozen=True)
class AccountSeen:
    """What the exchange says of the account."""

    positions: Mapping[str, float]  # signed, base currency; without flat ones
    equity: float  # settlement coin


@dataclass
class BotWatch:
    """What is known of one bot."""

    bot: str
    limits: WatchLimits
    begun: float  # when the watch began
    answered: float | None = None  # when the bot said last how it stands
    status: dict[str, Any] | None = None  # what it said then
    why: str = "it has never answered"  # why it does not answer now; empty: it does
    account: AccountSeen | None = None
    blind: str = ""  # why the exchange does not answer
    _said: SaidConditions = field(init=False)

    def __post_init__(self) -> None:
        self._said = SaidConditions(self.bot, self.limits.repeat)

    def stands(self, status: dict[str, Any], now: float) -> None:
        """Hear how the bot stands."""
        self.status, self.answered, self.why = status, now, ""

    def silent(self, why: str) -> None:
        """Hear that it does not answer."""
        self.why = why

    def saw(self, account: AccountSeen | None, blind: str = "") -> None:
        """Hear what the exchange says, or why it does not."""
        self.account, self.blind = account, blind

    def is_well(self) -> bool:
        """Whether nothing that was said is still true."""
        return self._said.are_over()

    def evaluate(self, now: float) -> list[Notice]:
        """Say what has begun, what still holds and was said long ago, and what is over."""
        found = []
        for condition in BotTrouble:
            wrong = self._wrong(condition, now)
            if wrong is None:  # it cannot be known now
                continue
            notice = self._noticed(condition, wrong, now) if wrong else self._said.ended(condition)
            if notice is not None:
                found.append(notice)
        return found

    def _noticed(self, condition: BotTrouble, sentence: str, now: float) -> Notice | None:
        since = now
        if condition is BotTrouble.SILENT:
            since = self.begun if self.answered is None else self.answered
        return self._said.noticed(condition, sentence, now, since, self.limits.patience(condition))

    def _wrong(self, condition: BotTrouble, now: float) -> str | None:
        """Return what is wrong, an empty text where nothing is, None where that cannot be known."""
        if condition is BotTrouble.SILENT:
            return f"the bot does not answer: {self.why}" if self.why else ""
        if condition is BotTrouble.BLIND:
            return f"the exchange does not answer the watchdog: {self.blind}" if self.blind else ""
        if self.why or self.status is None:
            return None
        if condition in OF_THE_STATUS:
            return OF_THE_STATUS[condition](self.status)
        if condition is BotTrouble.UNRECONCILED:
            return self._unreconciled(self.status, now)
        return None if self.account is None or self.blind else self._other_account(condition, self.status, self.account)

    def _other_account(self, condition: BotTrouble, status: dict[str, Any], account: AccountSeen) -> str:
        if condition is BotTrouble.FILLS_UNKNOWN:
            return _other_positions(status, account)
        return self._other_equity(float(status["equity"]), account.equity)

    def _unreconciled(self, status: dict[str, Any], now: float) -> str:
        """Return which pairs were not compared with the exchange for too long; their age grows between two answers."""
        grown = now - (now if self.answered is None else self.answered)
        ages = {one["pair"]: one["reconciled_seconds"] + grown for one in status["pairs"]}
        late = sorted(pair for pair, age in ages.items() if age > self.limits.unreconciled)
        if not late:
            return ""
        return f"{', '.join(late)} not compared with the exchange for {max(ages.values()):,.0f} s"

    def _other_equity(self, believed: float, held: float) -> str:
        off = abs(believed - held) / max(abs(held), NEGLIGIBLE) * 100.0
        if off <= self.limits.equity_off_pct:
            return ""
        return f"the exchange has an equity of {held:,.2f}, the bot believes {believed:,.2f}: {off:.1f} % off"


def _halted(status: dict[str, Any]) -> str:
    if not status["halted"] or status["answer"] != "waiting":
        return ""
    losses = f"day loss {status['day_loss_pct']:.2f} %, drawdown {status['drawdown_pct']:.2f} %"
    return f"it is halted ({losses}) and holds what it has unless somebody decides by {status['decide_by']}"


def _held_off(status: dict[str, Any]) -> str:
    reasons = {one["pair"]: [why for why in one["held_off"] if why not in OF_OTHERS] for one in status["pairs"]}
    told = [f"{pair} ({', '.join(why).replace('_', ' ')})" for pair, why in reasons.items() if why]
    return f"nothing is opened on {', '.join(told)}" if told else ""


OF_OTHERS = ("operator", "silence")  # said by the operator; told as not compared
OF_THE_STATUS = {BotTrouble.HALTED: _halted, BotTrouble.HELD_OFF: _held_off}


def _other_positions(status: dict[str, Any], account: AccountSeen) -> str:
    """Return on which pairs the exchange holds another position than the bot believes."""
    differing = []
    for one in status["pairs"]:
        held, believed = account.positions.get(one["pair"], 0.0), float(one["position"])
        if abs(held - believed) > NEGLIGIBLE * max(abs(held), abs(believed), 1.0):
            differing.append(f"{one['pair']} {held:g} at the exchange, {believed:g} in the bot's books")
    return f"fills are not known to the bot: {'; '.join(differing)}" if differing else ""
