"""Answers what a user asks or says: the commands, their buttons, and the codes that guard what costs money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar

from bot.errors import Misconfigured, TradingError, cut
from bot.ports import Unreachable
from coordinator.config_file import symbol_of
from services.telegram import texts
from services.telegram.codes import CodeOutcome, Codes, state_of
from services.telegram.mailbox import Button, Loudness, Message
from services.telegram.users import KINDS, TelegramUser
from services.words import LANGUAGES, Words

if TYPE_CHECKING:
    from services.command_outcomes import Outcomes
    from services.telegram.pictures import Draw
    from services.telegram.ports import TelegramWorld

# What a word of Telegram says to a bot; those that move money, or begin or end trading, ask once more.
SAID = {
    "pause": "pause",
    "resume": "resume",
    "close": "close",
    "halt": "halt",
    "closeall": "close-all",
    "hold": "hold",
    "reduce50": "reduce-50",
    "phaseup": "phase-up",
    "phasedown": "phase-down",
    "reload": "reload",
    "stop": "stop",
}
CONFIRMED = ("resume", "close", "halt", "close-all", "reduce-50", "phase-up", "phase-down", "stop")
OUTCOMES = ("halt", "hold", "reduce-50", "close-all", "close")  # whose outcome is computed on a copy of the pairs
OUTCOME_SECONDS = 4.0  # that a confirmation waits for it
HALT_ANSWERS = ("hold", "reduce-50", "close-all")
NEXT = {Loudness.ON: Loudness.QUIET, Loudness.QUIET: Loudness.OFF, Loudness.OFF: Loudness.ON}

Answer = Callable[[TelegramUser, dict[str, Any], list[str], Words], Awaitable[Message]]
Save = Callable[[TelegramUser], None]
Audit = Callable[[int, str, str, str, str], Awaitable[None]]  # user, bot, command, key, outcome


class ChatWords(Words):
    """The words of messages; names of the bot's are the console's."""

    catalogues: ClassVar[tuple[str, ...]] = ("telegram", "console", "decisions", "alerts")


def words_for(user: TelegramUser) -> Words:
    """The words of a user's language."""
    return ChatWords(user.language)


class Desk:
    """Everything that a user may ask and say."""

    def __init__(
        self, world: TelegramWorld, draw: Draw, save: Save, audit: Audit, outcomes: Outcomes,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.world, self.draw, self.save, self.audit, self.clock = world, draw, save, audit, clock
        self.outcomes = outcomes
        self.codes = Codes()
        self._answers: dict[str, Answer] = {
            "status": _of_status("status", texts.overview),
            "pairs": _of_status("pairs", texts.pairs),
            "positions": _of_status("positions", texts.positions),
            "balance": _of_status("balance", texts.balance),
            "risk": _of_status("risk", texts.risk),
            "allocation": _of_status("allocation", texts.allocation),
            "regimes": _of_status("regimes", texts.regimes),
            "health": _of_status("health", texts.health),
            "pair": self._pair,
            "orders": self._orders,
            "whatif": self._what_if,
            "drift": self._drift,
            "config": self._config,
            "why": self._why,
            "decisions": self._decisions,
            "trades": self._trades,
            "performance": self._performance,
            "profit": self._earned(texts.EVER),
            "day": self._earned(1),
            "week": self._earned(7),
            "month": self._earned(30),
            "fees": self._fees,
            "equity": self._equity,
            "chart": self._chart,
        }
        self._of_oneself: dict[str, Callable[[TelegramUser, list[str], Words], Message]] = {
            "start": lambda _user, _rest, words: Message(words("hello")),
            "help": lambda _user, _rest, words: Message(texts.safe_lines(words("help"))),
            "version": lambda _user, _rest, words: Message(
                words("version-line", version=metadata.version("traderagent"))
            ),
            "use": self._use,
            "rules": self._rules,
            "language": self._language,
        }

    def commands(self) -> list[str]:
        """Every word that is understood."""
        return [*self._of_oneself, *self._answers, *SAID]

    async def heard(self, user: TelegramUser, text: str, key: str) -> Message:
        """Answer a line; `key` names it, so that it is done once."""
        words = words_for(user)
        word, *rest = text[:1000].split() or [""]
        name = word.removeprefix("/").partition("@")[0].lower()
        if not word.startswith("/"):
            return Message(words("only-text"))
        if name in self._of_oneself:
            return self._of_oneself[name](user, rest, words)
        if name not in self._answers and name not in SAID:
            return Message(words("unknown-command"))
        try:
            return await self._of_a_bot(user, name, rest, words, key)
        except (Misconfigured, TradingError) as error:
            return Message(words("away", what=texts.safe(str(error))))

    async def _of_a_bot(self, user: TelegramUser, name: str, rest: list[str], words: Words, key: str) -> Message:
        bot = self._chosen(user)
        if bot is None:
            return self._choose(words)
        if name in SAID:
            return await self._said(user, bot, SAID[name], rest, words, key)
        return await self._answers[name](user, await self.world.bots.status(bot), rest, words)

    async def pressed(self, user: TelegramUser, data: str, message: int, key: str) -> Message:
        """Answer a button under message `message`, which most answers replace."""
        words = words_for(user)
        kind, _, rest = data.partition(":")
        try:
            if kind == "use":
                answer = self._use(user, [rest], words)
            elif kind == "rule":
                answer = self._turned(user, rest, words)
            elif kind == "again":
                answer = await self.heard(user, rest, key)
            elif kind == "halt":
                answer = await self._halt_answer(user, rest, words, key)
            else:
                answer = await self._coded(user, kind, rest, words, key)
        except (Misconfigured, TradingError) as error:
            answer = Message(words("away", what=texts.safe(str(error))))
        # Under a halt the answer comes as another message: its own goes on counting.
        return answer if kind == "halt" else replace(answer, sent_as=message)

    # Which bot, and what is told

    def _chosen(self, user: TelegramUser) -> str | None:
        """The bot that a user speaks of; None where that is to be said. Raises Misconfigured where none runs."""
        names = self.world.bots.names()
        if not names:
            raise Misconfigured(words_for(user)("no-bot"))
        if user.bot in names:
            return user.bot
        return names[0] if len(names) == 1 else None

    def _choose(self, words: Words) -> Message:
        buttons = tuple((Button(name, f"use:{name}"),) for name in self.world.bots.names())
        return Message(words("choose-bot"), buttons)

    def _use(self, user: TelegramUser, rest: list[str], words: Words) -> Message:
        names = self.world.bots.names()
        if not rest or rest[0] not in names:
            return self._choose(words) if names else Message(words("no-bot"))
        self.save(replace(user, bot=rest[0]))
        return Message(words("using", bot=texts.safe(rest[0])))

    def _rules(self, user: TelegramUser, _rest: list[str], words: Words) -> Message:
        rows = [
            (Button(f"{words(f'kind-{kind}')}: {words(f'rule-{user.rules[kind]}')}", f"rule:{kind}"),) for kind in KINDS
        ]
        return Message(f"{words('rules-head')}\n{words('alarms-stay')}", tuple(rows))

    def _turned(self, user: TelegramUser, kind: str, words: Words) -> Message:
        if kind in KINDS:
            user = replace(user, rules={**user.rules, kind: NEXT[user.rules[kind]]})
            self.save(user)
        return self._rules(user, [], words)

    def _language(self, user: TelegramUser, rest: list[str], _words: Words) -> Message:
        others = [one for one in LANGUAGES if one != user.language]
        user = replace(user, language=rest[0] if rest and rest[0] in LANGUAGES else others[0])
        self.save(user)
        return Message(words_for(user)("language-set"))

    # What is watched

    async def _pair(self, _user: TelegramUser, now: dict[str, Any], rest: list[str], words: Words) -> Message:
        one = _named(now, rest, words)
        if isinstance(one, Message):
            return one
        return Message(texts.pair(one, await self.world.bots.orders(now["bot"], one["pair"]), words))

    async def _orders(self, _user: TelegramUser, now: dict[str, Any], rest: list[str], words: Words) -> Message:
        if rest:
            one = _named(now, rest, words)
            if isinstance(one, Message):
                return one
            return Message(texts.open_orders(await self.world.bots.orders(now["bot"], one["pair"]), words))
        active = [one["pair"] for one in now["pairs"] if one["open_orders"]][:20]
        found = await asyncio.gather(*(self.world.bots.orders(now["bot"], pair) for pair in active))
        return Message("\n".join(texts.open_orders(one, words) for one in found) or words("no-orders"))

    async def _what_if(self, _user: TelegramUser, now: dict[str, Any], rest: list[str], words: Words) -> Message:
        one = _named(now, rest[:1], words)
        if isinstance(one, Message):
            return one
        to = _price(rest[1] if len(rest) > 1 else "")
        if to is None:
            return Message(words("bad-price", price=texts.safe(rest[1] if len(rest) > 1 else "")))
        try:
            found = await self.world.twins.what_if(now["bot"], one["pair"], to, one["price"] or None)
        except (Misconfigured, Unreachable) as error:  # what rests is known all the same
            orders = await self.world.bots.orders(now["bot"], one["pair"])
            return Message(f"{texts.what_rests(one, orders, to, words)} {texts.safe(str(error))}")
        return Message(texts.what_if(found, words))

    async def _drift(self, _user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
        days = await self.world.twins.days(now["bot"])
        said = await self.world.twins.day(now["bot"], days[0]) if days else None
        return Message(words("drift-none") if said is None else texts.drift(said, words))

    async def _config(self, user: TelegramUser, now: dict[str, Any], rest: list[str], words: Words) -> Message:
        """Show the config, a section or a value of it; with a value, ask whether it shall be changed."""
        found = await self.world.bots.config(now["bot"])
        if len(rest) > 1:
            return self._change_asked(user, now, found, rest[0], " ".join(rest[1:]), words)
        if rest and not any(_is_within(one["key"], rest[0]) for one in found):
            return Message(words("config-unknown", key=texts.safe(rest[0])))
        shown = [one for one in found if not rest or _is_within(one["key"], rest[0])]
        if rest:
            return Message(texts.config(now["bot"], shown, words))
        names = sorted({one["key"].partition(".")[0] for one in found if "." in one["key"]})
        buttons = tuple((Button(name, f"again:/config {name}"[:64]),) for name in names)
        return Message(texts.config(now["bot"], [one for one in shown if "." not in one["key"]], words), buttons)

    def _change_asked(
        self, user: TelegramUser, now: dict[str, Any], found: list[dict[str, Any]], key: str, value: str, words: Words
    ) -> Message:
        """Ask once more for a change of a setting, with a code that is worth something while it is what was shown."""
        one = next((each for each in found if each["key"] == key), None)
        if one is None:
            return Message(words("config-unknown", key=texts.safe(key)))
        if not one["live"]:
            return Message(words("config-restart", key=texts.safe(key)))
        state = state_of(now, one["value"])
        code = self.codes.give(user.id, now["bot"], "set", "", state, self.clock(), key, value[:64])
        lines = [
            words("confirm-head", command=words.word("set"), bot=texts.safe(now["bot"])),
            words("confirm-set", key=texts.safe(key), before=texts.safe(one["value"]), after=texts.safe(value[:64])),
        ]
        buttons = ((Button(words("yes"), f"yes:{code}"), Button(words("no"), f"no:{code}")),)
        return Message("\n".join(lines), buttons)

    async def _why(self, _user: TelegramUser, now: dict[str, Any], rest: list[str], words: Words) -> Message:
        one = _named(now, rest, words)
        if isinstance(one, Message):
            return one
        rows, _ = await self.world.past.decisions(now["bot"], one["pair"], limit=texts.SHOWN)
        orders = await self.world.bots.orders(now["bot"], one["pair"])
        return Message(f"{texts.pair(one, orders, words)}\n\n{texts.decisions(rows, words)}")

    async def _decisions(self, _user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
        rows, _ = await self.world.past.decisions(now["bot"], limit=texts.SHOWN)
        return Message(texts.decisions(rows, words))

    async def _trades(self, _user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
        found, _ = await self.world.past.trades(now["bot"])
        return Message(texts.trades(found, words))

    async def _performance(self, _user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
        past = self.world.past
        found, _ = await past.trades(now["bot"])
        contributions, exits = await past.contributions(now["bot"]), await past.exits(now["bot"])
        return Message(texts.performance(found, contributions, exits, words))

    def _earned(self, days: int) -> Answer:
        async def answer(_user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
            rows = await self.world.past.earned(now["bot"])
            return Message(texts.earned(rows, days, _market_time(now, self.clock), words))

        return answer

    async def _fees(self, _user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
        return Message(texts.fees(await self.world.past.earned(now["bot"]), words))

    async def _equity(self, _user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
        marks = [] if self.world.told is None else await self.world.told.equity(now["bot"], 2000)
        if len(marks) < 2:
            return Message(words("nothing-yet"))
        return Message(texts.overview(now, words), picture=await asyncio.to_thread(self.draw.equity, marks))

    async def _chart(self, _user: TelegramUser, now: dict[str, Any], rest: list[str], words: Words) -> Message:
        one = _named(now, rest, words)
        if isinstance(one, Message):
            return one
        bars = await self.world.candles.candles(now["bot"], one["pair"], None, 24 * 60)
        orders = await self.world.bots.orders(now["bot"], one["pair"])
        fills, _ = await self.world.past.fills(now["bot"], one["pair"], limit=100)
        picture = await asyncio.to_thread(self.draw.chart, one["pair"], bars, orders, fills)
        return Message(texts.pair(one, orders, words), picture=picture)

    # What is commanded

    async def _said(
        self, user: TelegramUser, bot: str, command: str, rest: list[str], words: Words, key: str
    ) -> Message:
        now = await self.world.bots.status(bot)
        pair = ""
        if rest or command == "close":
            one = _named(now, rest, words)
            if isinstance(one, Message):
                return one
            pair = one["pair"]
        if command in CONFIRMED or (command == "hold" and not now["halted"]):  # which halts what trades
            return await self._confirmation(user, now, command, pair, words)
        return await self._done(user, bot, command, pair, words, key)

    async def _confirmation(
        self, user: TelegramUser, now: dict[str, Any], command: str, pair: str, words: Words
    ) -> Message:
        """Ask once more, with what it would do now, and a code that is worth something in this state alone."""
        lines = [
            words("confirm-head", command=words.word(command), bot=texts.safe(now["bot"])),
            words(f"confirm-{command}", **texts.stake(now, command, pair), pair=texts.safe(pair)),
        ]
        if command in OUTCOMES:
            found = await self.outcomes.wait(now, command, OUTCOME_SECONDS)
            chosen = None if found is None else {name: one for name, one in found.items() if pair in ("", name)}
            lines += [] if chosen is None else [words("outcome-computed", what=texts.outcome(chosen, words))]
        code = self.codes.give(user.id, now["bot"], command, pair, state_of(now), self.clock())
        buttons = ((Button(words("yes"), f"yes:{code}"), Button(words("no"), f"no:{code}")),)
        return Message("\n".join(lines), buttons)

    async def _halt_answer(self, user: TelegramUser, rest: str, words: Words, key: str) -> Message:
        bot, _, command = rest.partition(":")
        if command not in HALT_ANSWERS or bot not in self.world.bots.names():
            return Message(words("code-unknown"))
        now = await self.world.bots.status(bot)
        if not now["halted"]:  # an old message: its button would halt what trades again
            return Message(words("halt-over"))
        if command in CONFIRMED:
            return await self._confirmation(user, now, command, "", words)
        return await self._done(user, bot, command, "", words, key)

    async def _coded(self, user: TelegramUser, kind: str, code: str, words: Words, key: str) -> Message:
        """Do what a code allows, if it is worth something yet."""
        asked = self.codes.asked(code, user.id)
        if asked is None or kind not in ("yes", "no"):
            return Message(words("code-unknown"))
        now = await self.world.bots.status(asked.bot)
        found = await self.world.bots.config(asked.bot) if asked.setting else []
        present = next((one["value"] for one in found if one["key"] == asked.setting), None)
        outcome = self.codes.use(code, user.id, state_of(now, present), self.clock())
        if kind == "no":
            return Message(words("cancelled"))
        if outcome is CodeOutcome.LATE:
            return Message(words("code-late"))
        if outcome is CodeOutcome.CHANGED:
            if asked.setting:
                asking = self._change_asked(user, now, found, asked.setting, asked.value, words)
                return replace(asking, text=f"{words('config-changed')}\n{asking.text}")
            asking = await self._confirmation(user, now, asked.command, asked.pair, words)
            return replace(asking, text=f"{words('code-changed')}\n{asking.text}")
        change = {"setting": asked.setting, "value": asked.value} if asked.setting else {}
        return await self._done(user, asked.bot, asked.command, asked.pair, words, key, change)

    async def _done(
        self, user: TelegramUser, bot: str, command: str, pair: str, words: Words, key: str,
        change: dict[str, str] | None = None,
    ) -> Message:  # fmt: skip
        said = {"command": command, "source": "telegram", "who": f"telegram:{user.id}", "key": f"telegram:{key}"}
        said |= change or {}
        command = " ".join([command, *(change or {}).values()])  # as the audit has it
        try:
            outcome = await self.world.bots.command(bot, {**said, "pair": pair or None})
        except Misconfigured as error:
            await self.audit(user.id, bot, command, key, f"refused: {cut(str(error))}")
            return Message(words("refused", bot=texts.safe(bot), outcome=texts.safe(str(error))))
        await self.audit(user.id, bot, command, key, outcome)
        return Message(words("done", bot=texts.safe(bot), outcome=texts.safe(outcome)))


def _of_status(name: str, view: Callable[[dict[str, Any], Words], str]) -> Answer:
    """Answer with a view of the status, and a button that looks again."""

    async def answer(_user: TelegramUser, now: dict[str, Any], _rest: list[str], words: Words) -> Message:
        return Message(view(now, words), ((Button(words("refresh"), f"again:/{name}"),),))

    return answer


def _named(now: dict[str, Any], rest: list[str], words: Words) -> dict[str, Any] | Message:
    """The pair that was named, or what there is to say of it; the only one need not be named."""
    known = {one["pair"]: one for one in now["pairs"]}
    if not rest:
        return now["pairs"][0] if len(known) == 1 else Message(words("choose-pair", example=next(iter(known), "")))
    try:
        symbol = symbol_of(rest[0])
    except Misconfigured:
        symbol = rest[0]
    return known.get(symbol) or Message(words("unknown-pair", pair=texts.safe(rest[0])))


def _is_within(key: str, asked: str) -> bool:
    """Whether a key of the config is what was asked for, or lies in the section that was."""
    return key == asked or key.startswith(f"{asked}.")


def _price(text: str) -> float | None:
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        return None
    return found if 0.0 < found < 1e15 else None


def _market_time(now: dict[str, Any], clock: Callable[[], float]) -> int:
    """The market's time of a status, ms; this machine's where it has none."""
    from bot.candles import parse_time  # noqa: PLC0415

    return int(clock() * 1000) if now["at"] is None else parse_time(now["at"])
