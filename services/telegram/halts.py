"""A halt on the phone: what each answer would do now, the time that is left, and what is seen once it is decided.

One message says all of it and changes in its place; that nobody has decided in time is said in another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from services.telegram import texts
from services.telegram.desk import HALT_ANSWERS, words_for
from services.telegram.mailbox import Button, Mailbox, Message

if TYPE_CHECKING:
    from services.command_outcomes import Outcomes
    from services.telegram.users import TelegramUser
    from services.words import Words

EDIT_SECONDS = 60.0  # between two counts of the time that is left
WAITING = "waiting"


@dataclass
class _Halt:
    """A halt that a user was told of."""

    sent_as: int | None = None
    said: str = ""
    edited: float = 0.0
    computed: bool = False  # what each answer would do is in it
    decide_by: str | None = None
    before: dict[str, float] = field(default_factory=dict)  # positions while it waited
    seen: list[tuple[str, float, int]] = field(default_factory=list)  # positions and orders after the answer
    seen_at: float = 0.0  # when they changed last
    decided: bool = False
    confirmed: bool = False


class Halts:
    """The halts that users were told of."""

    def __init__(self, box: Callable[[int], Mailbox], outcomes: Outcomes, clock: Callable[[], float]) -> None:
        self._box, self._outcomes, self._clock = box, outcomes, clock
        self._halts: dict[tuple[int, str], _Halt] = {}

    def look(self, users: tuple[TelegramUser, ...], now: dict[str, Any]) -> None:
        """Tell users how a bot stands that is halted, or is so no longer."""
        if now["halted"] and now["answer"] == WAITING:
            self._outcomes.begin(now)
        for user in users:
            self._of(user, now)

    def sent(self, user: int, called: str, number: int) -> None:
        """Hear under which number a halt was told, so that it can be changed there."""
        halt = self._halts.get((user, called.removesuffix("//halt")))
        if halt is not None:
            halt.sent_as = number

    def _of(self, user: TelegramUser, now: dict[str, Any]) -> None:
        place, words, name = (user.id, now["bot"]), words_for(user), f"{now['bot']}//halt"
        halt = self._halts.get(place)
        if not now["halted"]:
            if halt is not None:
                self._box(user.id).acknowledge(name)
                self._edit(user, halt, Message(f"{_head(now, words)}\n{words('halt-over')}"))
                del self._halts[place]
            return
        if now["answer"] != WAITING:
            halt = self._halts.setdefault(place, _Halt(decided=True, seen_at=self._clock()))
            self._of_a_decision(user, halt, now, words)
            return
        message = waiting_message(now, self._outcomes, words)
        computed = self._outcomes.known(now, HALT_ANSWERS[0]) is not None
        box = self._box(user.id)
        if halt is None or halt.decided:
            halt = self._halts[place] = _Halt(said=message.text, edited=self._clock())
            halt.computed = computed
            message = replace(message, called=name, buttons=(*message.buttons, _seen(name, words)))
            box.alarm(name, message, self._clock())
        else:
            due = self._clock() - halt.edited >= EDIT_SECONDS or computed != halt.computed
            if due and message.text != halt.said and halt.sent_as is not None:
                halt.computed = computed
                if name in box.alarms():
                    message = replace(message, buttons=(*message.buttons, _seen(name, words)))
                    box.renew(name, replace(message, called=name))
                self._edit(user, halt, message)
        halt.decide_by = now["decide_by"]
        halt.before = {one["pair"]: one["position"] for one in now["pairs"]}

    def _of_a_decision(self, user: TelegramUser, halt: _Halt, now: dict[str, Any], words: Words) -> None:
        """Say what was decided, and what is seen of it, until the exchange has confirmed it."""
        box = self._box(user.id)
        if not halt.decided:
            halt.decided = True
            box.acknowledge(f"{now['bot']}//halt")
            if now["answer"] == "hold" and _is_late(halt.decide_by, now["at"]):
                box.answer(Message(f"⏱ {words('halt-by-default', bot=texts.safe(now['bot']))}"))
        if halt.confirmed:
            return
        seen = sorted((one["pair"], one["position"], one["open_orders"]) for one in now["pairs"])
        if seen != halt.seen:
            halt.seen, halt.seen_at = seen, self._clock()
        confirmed = is_confirmed(now, halt.before, self._clock() - halt.seen_at)
        message = decided_message(now, confirmed=confirmed, words=words)
        if halt.sent_as is None and not halt.said:  # it was decided before anybody was told of it
            halt.said = message.text
            box.answer(replace(message, called=f"{now['bot']}//halt"))
        elif message.text != halt.said:
            self._edit(user, halt, message)
        halt.confirmed = confirmed and halt.said == message.text

    def _edit(self, user: TelegramUser, halt: _Halt, message: Message) -> None:
        """Change what was said in its place; it waits until it is known where that is."""
        if halt.sent_as is not None:
            halt.said, halt.edited = message.text, self._clock()
            self._box(user.id).answer(replace(message, sent_as=halt.sent_as))


def is_confirmed(now: dict[str, Any], before: dict[str, float], seconds: float) -> bool:
    """Whether the exchange shows what was decided: compared since positions and orders changed last, `seconds` ago.

    `before`: positions while the halt waited, by pair.
    """
    if any(one["reconciled_seconds"] >= seconds for one in now["pairs"]):
        return False
    if now["answer"] == "close_all":
        return not any(one["position"] for one in now["pairs"])
    if now["answer"] == "reduce_50":
        return all(
            not before.get(one["pair"]) or abs(one["position"]) < abs(before[one["pair"]]) for one in now["pairs"]
        )
    return True


def waiting_message(now: dict[str, Any], outcomes: Outcomes, words: Words) -> Message:
    """A halt that waits, with what each answer would do now and its countdown."""
    lines = [_head(now, words)]
    known = {one: outcomes.known(now, one) for one in HALT_ANSWERS}
    for command, found in known.items():
        said = texts.at_stake(now, command, words) if found is None else texts.outcome(found, words)
        lines.append(f"<b>{words(f'button-{command}')}</b>: {said}")
    if None in known.values():
        why = outcomes.fault(now["bot"])
        lines.append(words("outcome-unknown", why=texts.safe(why)) if why else words("outcome-asked"))
    lines.append(_default(now, words))
    buttons = tuple((Button(words(f"button-{one}"), f"halt:{now['bot']}:{one}"),) for one in HALT_ANSWERS)
    return Message("\n".join(lines), buttons)


def decided_message(now: dict[str, Any], *, confirmed: bool, words: Words) -> Message:
    """A halt that is decided, and what is seen of it."""
    held = [one for one in now["pairs"] if one["position"]]
    seen = {
        "count": len(held),
        "value": texts.money(sum(abs(one["position"]) * one["price"] for one in held)),
        "orders": sum(one["open_orders"] for one in now["pairs"]),
    }
    lines = [
        _head(now, words),
        words("halt-decided", answer=words.word(str(now["answer"]).replace("_", "-"))),
        f"✅ {words('halt-seen', **seen)}" if confirmed else f"… {words('halt-under-way', **seen)}",
    ]
    return Message("\n".join(lines))


def _head(now: dict[str, Any], words: Words) -> str:
    losses = {"day": f"{now['day_loss_pct']:.2f}", "drawdown": f"{now['drawdown_pct']:.2f}"}
    return f"⛔ {words('halt-head', bot=texts.safe(now['bot']), equity=texts.money(now['equity']), **losses)}"


def _default(now: dict[str, Any], words: Words) -> str:
    """What happens without an answer, and when."""
    if now["decide_by"] is None or now["at"] is None:
        return words("halt-no-default")
    due, at = (datetime.fromisoformat(now[name]) for name in ("decide_by", "at"))
    return words("halt-default", minutes=f"{max((due - at).total_seconds() / 60.0, 0.0):.0f}")


def _is_late(decide_by: str | None, at: str | None) -> bool:
    """Whether the time to decide was over."""
    return decide_by is not None and at is not None and datetime.fromisoformat(at) >= datetime.fromisoformat(decide_by)


def _seen(name: str, words: Words) -> tuple[Button, ...]:
    return (Button(words("acknowledge"), f"seen:{name}"[:64]),)
