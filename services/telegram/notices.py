"""What users are told without asking: fills, trades, decisions, alarms, halts with their countdown, and a digest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import TradingError, cut
from services.alert_conditions import by_id
from services.alert_words import alert_remedy, alert_sentence
from services.command_outcomes import Outcomes
from services.telegram import texts
from services.telegram.desk import words_for
from services.telegram.halts import Halts
from services.telegram.mailbox import Button, Digest, Loudness, Mailbox, MailLimits, Message
from services.telegram.users import TelegramUser

if TYPE_CHECKING:
    from services.telegram.ports import TelegramWorld
    from services.words import Words

log = structlog.get_logger()

TOLD = ("halt", "answer", "resume", "mode", "investment", "overcommitted")  # decisions of the account
AT_ONCE = ("halt", "answer", "resume")  # of them, those after which a halt looks otherwise
PATIENCE = 3  # looks at a bot that does not answer before it is said


@dataclass
class Notices:
    """Fills the mailboxes of users with what happens."""

    world: TelegramWorld
    users: Callable[[], tuple[TelegramUser, ...]]
    limits: MailLimits = field(default_factory=MailLimits)
    clock: Callable[[], float] = time.time
    boxes: dict[int, Mailbox] = field(default_factory=dict)
    _trades: dict[str, int] = field(default_factory=dict)  # closed ones that were told, by bot
    _unanswered: dict[str, int] = field(default_factory=dict)  # looks in a row, by bot
    _began: dict[str, float] = field(default_factory=dict)  # when each bot was started that was told of
    _unprotected: dict[tuple[str, str], float | None] = field(default_factory=dict)  # since when; None: it was said
    digests: dict[str, str] = field(default_factory=dict)  # the day of each user's last
    keep_digests: Callable[[dict[str, str]], None] = lambda _digests: None

    def __post_init__(self) -> None:
        self.outcomes = Outcomes(lambda: self.world.twins, self.clock)
        self.halts = Halts(self.box, self.outcomes, self.clock)

    def box(self, user: int) -> Mailbox:
        """The mailbox of a user."""
        return self.boxes.setdefault(user, Mailbox(self.limits))

    def _tell(self, kind: str, line: Callable[[Words], str]) -> None:
        """Tell everybody who wants to hear of this kind."""
        now = self.clock()
        hour = datetime.fromtimestamp(now, UTC).hour
        for user in self.users():
            loudness = user.loudness(kind, hour)
            if loudness is not Loudness.OFF:
                self.box(user.id).tell(line(words_for(user)), now, silent=loudness is Loudness.QUIET)

    def _alarm(self, name: str, say: Callable[[Words], Message]) -> None:
        for user in self.users():
            self._say(user, name, say(words_for(user)))

    def _say(self, user: TelegramUser, name: str, message: Message) -> None:
        """Say an alarm until it is seen."""
        seen = (Button(words_for(user)("acknowledge"), f"seen:{name}"[:64]),)
        self.box(user.id).alarm(name, replace(message, buttons=(*message.buttons, seen)), self.clock())

    def _over(self, name: str, line: Callable[[Words], str]) -> None:
        for user in self.users():
            if self.box(user.id).acknowledge(name):
                self.box(user.id).tell(line(words_for(user)), self.clock(), matters=True)

    # What bots tell

    async def happened(self, bot: str, events: list[dict[str, Any]]) -> None:
        """Hear of events as they came over the bus; closed trades are looked for once after all of them."""
        for event in events:
            self._heard(event)
        if any(one["kind"] == "filled" for one in events):
            await self._closed(bot)
        if any(one["kind"] == "decision" and one["data"].get("kind") in AT_ONCE for one in events):
            await self.look(bot)

    def _heard(self, event: dict[str, Any]) -> None:
        bot, kind, data = event["bot"], event["kind"], event["data"]
        try:
            if kind == "filled":
                self._tell("fills", lambda words: texts.fill(data, words))
            elif kind == "alarm":
                self._of_an_alarm(bot, data)
            elif kind == "decision" and data["kind"] in TOLD:
                self._tell("decisions", lambda words: f"{texts.safe(bot)}: {texts.decided(data, words)}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # of a bot of another version
            log.warning("event_unreadable", bot=bot, kind=cut(str(kind)), error=type(error).__name__)

    def _of_an_alarm(self, bot: str, data: dict[str, Any]) -> None:
        name = f"{bot}/{data['pair']}/{data['id']}"
        where = texts.safe(" ".join(one for one in (bot, data["pair"]) if one))

        def said(words: Words) -> str:
            return f"<b>{where}</b>: {texts.safe_lines(alert_sentence(words, data['id'], cut(data['sentence'])))}"

        def remedy(words: Words) -> str:
            return texts.safe(alert_remedy(words, data["id"], data["remedy"] or " "))

        if data["over"]:
            self._over(name, lambda words: f"✅ {words('alarm-over', sentence=said(words))}")
        elif data["severity"] == "critical":
            self._alarm(name, lambda words: Message(f"🚨 {said(words)}\n{remedy(words)}"))
        else:
            for user in self.users():
                words = words_for(user)
                self.box(user.id).tell(f"⚠️ {said(words)} {remedy(words)}", self.clock(), matters=True)

    async def _closed(self, bot: str) -> None:
        """Tell of the trades that a fill has closed."""
        try:
            found, _ = await self.world.past.trades(bot)
        except TradingError:
            return  # the next fill brings them
        told = self._trades.setdefault(bot, len(found))
        self._trades[bot] = len(found)
        for one in found[told:]:
            self._tell("trades", partial(_trade_told, bot, one))

    async def begin(self, bot: str) -> None:
        """Remember what was closed before anything is told of a bot."""
        if bot not in self._trades:
            try:
                found, _ = await self.world.past.trades(bot)
            except TradingError:
                return
            self._trades[bot] = len(found)

    # How bots stand

    async def look(self, bot: str) -> None:
        """Look at a bot: whether it answers, and whether a halt waits."""
        try:
            now = await self.world.bots.status(bot)
        except TradingError as error:
            self._silent(bot, str(error))
            return
        if self._unanswered.pop(bot, 0) >= PATIENCE:
            self._over(f"{bot}//silent", lambda words: words("answers-again", bot=texts.safe(bot)))
        self.halts.look(self.users(), now)
        self._of_a_start(bot, now)
        await self._of_protection(bot, now)

    def _of_a_start(self, bot: str, now: dict[str, Any]) -> None:
        """Say that a bot was started again, once every pair has caught up with the exchange."""
        began, pairs = self.world.bots.began(bot), now["pairs"]
        if self._began.setdefault(bot, began) == began or not all(one["recovered"] for one in pairs):
            return
        self._began[bot] = began
        held = [one for one in pairs if one["position"]]
        seen = {
            "pairs": len(pairs),
            "held": len(held),
            "value": texts.money(sum(abs(one["position"]) * one["price"] for one in held)),
            "orders": sum(one["open_orders"] for one in pairs),
            "corrections": sum(one["corrections"] for one in pairs),
        }
        for user in self.users():
            line = words_for(user)("restart-told", bot=texts.safe(bot), **seen)
            self.box(user.id).tell(f"🔄 {line}", self.clock(), matters=True)

    async def _of_protection(self, bot: str, now: dict[str, Any]) -> None:
        """Say that a position has had no stop at the exchange for longer than setting one takes."""
        condition = by_id("unprotected")
        for one in now["pairs"]:
            place, name = (bot, one["pair"]), f"{bot}/{one['pair']}/{condition.id}"
            if not one["position"] or one["stop"] or await self._has_stop(bot, one["pair"]):
                if place in self._unprotected:
                    del self._unprotected[place]
                    self._over(name, partial(_protected_again, bot, one["pair"]))
                continue
            since = self._unprotected.setdefault(place, self.clock())
            if since is not None and self.clock() - since >= condition.seconds:
                self._unprotected[place] = None
                self._alarm(name, partial(_unprotected, bot, one["pair"]))

    async def _has_stop(self, bot: str, pair: str) -> bool:
        """Whether an order protects a position that carries no stop itself; also where that is not known."""
        try:
            orders = await self.world.bots.orders(bot, pair)
        except TradingError:
            return True
        return bool(orders["stop"]) or any(one["kind"] == "stop" for one in orders["open"])

    def _silent(self, bot: str, why: str) -> None:
        self._unanswered[bot] = self._unanswered.get(bot, 0) + 1
        if self._unanswered[bot] == PATIENCE:
            said = texts.safe(why)

            def message(words: Words) -> Message:
                told = words("silent-told", bot=texts.safe(bot), why=said)
                return Message(f"🚨 {told}\n{texts.safe(alert_remedy(words, 'silent'))}")

            self._alarm(f"{bot}//silent", message)

    # The day

    async def digest(self, bots: list[str]) -> None:
        """Tell each user of the last day, once, at the hour of their choice."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        for user in self.users():
            day = now.date().isoformat()
            if now.hour != user.digest_hour or self.digests.get(str(user.id)) == day:
                continue
            self.digests[str(user.id)] = day
            self.keep_digests(self.digests)  # before it is sent: a day is rather lost than told twice
            loudness = user.loudness("digest", now.hour)
            if loudness is Loudness.OFF:
                continue
            for bot in bots:
                quiet = loudness is Loudness.QUIET
                self.box(user.id).digest(await self._day_of(bot, day, words_for(user), silent=quiet))

    async def _day_of(self, bot: str, day: str, words: Words, *, silent: bool) -> Digest:
        head = f"<b>{words('digest-head', bot=texts.safe(bot))}</b>"
        try:
            status, rows = await self.world.bots.status(bot), await self.world.past.earned(bot)
        except TradingError as error:
            why = texts.safe(str(error))
            return Digest(bot, f"{head}\n{why}", f"{day}: {why}", silent)
        earned = texts.earned(rows, 1, int(self.clock() * 1000), words)
        line = f"{day}: {earned.partition(chr(10))[0]}"
        return Digest(bot, f"{head}\n{earned}\n{texts.overview(status, words)}", line, silent)

    @property
    def owes(self) -> bool:
        """Whether something that matters was never sent to somebody."""
        return any(box.owes for box in self.boxes.values())


def _unprotected(bot: str, pair: str, words: Words) -> Message:
    said = alert_sentence(words, "unprotected", by_id("unprotected").meaning)
    return Message(f"🚨 <b>{texts.safe(f'{bot} {pair}')}</b>: {said}\n{texts.safe(alert_remedy(words, 'unprotected'))}")


def _protected_again(bot: str, pair: str, words: Words) -> str:
    said = f"<b>{texts.safe(f'{bot} {pair}')}</b>: {alert_sentence(words, 'unprotected', by_id('unprotected').meaning)}"
    return f"✅ {words('alarm-over', sentence=said)}"


def _trade_told(bot: str, trade: Any, words: Words) -> str:
    return words("trade-told", bot=texts.safe(bot), trade=texts.trade(trade, words))
