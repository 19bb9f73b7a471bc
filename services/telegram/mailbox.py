"""What waits to be sent to one user, and what may be sent now. Pure: the time arrives with every call, seconds.

Answers go first and one by one, alarms next, each until it is acknowledged, then digests; news are gathered, and never
sent more often than the user's limit allows: what does not fit is counted. Nothing that an alarm says is ever dropped.

Telegram has no key by which it knows a message again, so one whose answer was lost may have arrived. Alarms and lines
that matter are sent again then, marked as such, and so are answers; digests and other news are not, and the lines are
counted as uncertain.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum

LONGEST = 4096  # characters of a message
LINES = 30  # of news in one message
WAITING = 500  # lines of news that are kept; beyond it the oldest are counted alone
REPEAT_SECONDS = 300.0  # between two sayings of an alarm that nobody has acknowledged
MINUTE = 60.0
AGAIN = "🔁"  # before what may have been said already


class Loudness(StrEnum):
    """How news of a kind come."""

    ON = "on"
    QUIET = "quiet"  # without a sound
    OFF = "off"


@dataclass(frozen=True)
class Button:
    """A button under a message: what it shows, and what is sent back when it is pressed."""

    text: str
    data: str


@dataclass(frozen=True)
class NewsLine:
    """A line of news."""

    text: str
    silent: bool = False
    matters: bool = False  # it is never left out, and rather said twice than not at all


@dataclass(frozen=True)
class Digest:
    """A bot's day: whole, and in a line for where it comes late."""

    bot: str
    text: str
    line: str
    silent: bool = False


@dataclass(frozen=True)
class Message:
    """Something that is sent: HTML, every value in it escaped."""

    text: str
    buttons: tuple[tuple[Button, ...], ...] = ()
    silent: bool = False
    alarm: str = ""  # id of the alarm that it says; empty: it says none
    picture: bytes | None = None  # PNG, under which the text stands
    sent_as: int | None = None  # message that it replaces
    called: str = ""  # what the sender calls it, to hear under which number it was sent
    lines: tuple[NewsLine, ...] = ()  # the news that are in it
    digests: tuple[Digest, ...] = ()  # that are in it
    again: bool = False  # it may have arrived before


@dataclass
class _Alarm:
    message: Message
    due: float
    sent: bool = False  # and so perhaps heard


@dataclass(frozen=True)
class MailLimits:
    """How much a user hears."""

    per_minute: int = 20  # messages of news
    gather_seconds: float = 1.0  # that news wait for others
    repeat_seconds: float = REPEAT_SECONDS


@dataclass
class Mailbox:
    """Messages for one user."""

    limits: MailLimits = field(default_factory=MailLimits)
    _answers: deque[Message] = field(default_factory=deque)
    _alarms: dict[str, _Alarm] = field(default_factory=dict)
    _digests: deque[Digest] = field(default_factory=deque)
    _news: deque[NewsLine] = field(default_factory=deque)
    _left_out: int = 0  # lines that had no room
    _uncertain: int = 0  # lines of which it is not known whether they arrived
    _since: float | None = None  # when the first line of news came
    _sent: deque[float] = field(default_factory=deque)  # when news were sent, within a minute
    _blocked: float = 0.0  # until when nothing is sent

    def answer(self, message: Message) -> None:
        """Send this as soon as may be; what waits to change the same message is out of date."""
        if message.sent_as is not None:
            self._answers = deque(one for one in self._answers if one.sent_as != message.sent_as)
        self._answers.append(message)

    def tell(self, line: str, now: float, *, silent: bool = False, matters: bool = False) -> None:
        """Gather a line of news."""
        self._news.append(NewsLine(line, silent, matters))
        if len(self._news) > WAITING:
            self._leave_out(len(self._news) - WAITING)
        self._since = now if self._since is None else self._since

    def _leave_out(self, count: int) -> None:
        """Count the oldest so many lines instead of keeping them, except for those that matter."""
        kept: deque[NewsLine] = deque()
        for line in self._news:
            if line.matters or not count:
                kept.append(line)
            else:
                count -= 1
                self._left_out += 1
        self._news = kept

    def digest(self, digest: Digest) -> None:
        """Send a day; where several of a bot wait, they become one message."""
        self._digests.append(digest)

    def alarm(self, name: str, message: Message, now: float, *, sent: bool = False) -> None:
        """Say this until it is acknowledged or over; the same alarm again is not said twice.

        `sent`: it has been said before.
        """
        if name not in self._alarms:
            self._alarms[name] = _Alarm(replace(message, alarm=name), now, sent)

    def renew(self, name: str, message: Message) -> None:
        """Let an alarm that nobody has acknowledged be said in these words from now on."""
        if name in self._alarms:
            self._alarms[name].message = replace(message, alarm=name)

    def acknowledge(self, name: str) -> bool:
        """Say an alarm no more; whether it was there."""
        return self._alarms.pop(name, None) is not None

    def alarms(self) -> list[str]:
        """Names of those that nobody has acknowledged."""
        return list(self._alarms)

    @property
    def owes(self) -> bool:
        """Whether something that matters was never sent."""
        lines = [*self._news, *(line for one in self._answers for line in one.lines)]
        return any(not one.sent for one in self._alarms.values()) or any(one.matters for one in lines)

    def take(self, now: float) -> Message | None:
        """What is to be sent now; None where there is nothing, or it has to wait."""
        if now < self._blocked:
            return None
        if self._answers:
            return self._answers.popleft()
        due = min(self._alarms.values(), key=lambda one: one.due, default=None)
        if due is not None and due.due <= now:
            due.due = now + self.limits.repeat_seconds
            message = replace(due.message, text=f"{AGAIN} {due.message.text}", again=True) if due.sent else due.message
            due.sent = True
            return message
        return self._day() if self._digests else self._gathered(now)

    def _day(self) -> Message:
        """The oldest digest; where others of the same bot wait, the newest of them with a line for each before it."""
        bot = self._digests[0].bot
        own = tuple(one for one in self._digests if one.bot == bot)
        self._digests = deque(one for one in self._digests if one.bot != bot)
        *older, newest = own
        lines = [one.line for one in older[-LINES:]]
        if len(older) > LINES:
            lines.insert(0, f"+ {len(older) - LINES:,}")
        return Message("\n".join([newest.text, *lines]), silent=newest.silent, digests=own)

    def _gathered(self, now: float) -> Message | None:
        if self._since is None or now - self._since < self.limits.gather_seconds:
            return None
        while self._sent and now - self._sent[0] >= MINUTE:
            self._sent.popleft()
        if len(self._sent) >= self.limits.per_minute:
            return None
        self._sent.append(now)
        lines: list[NewsLine] = []
        length = 0
        last_slot = len(self._sent) >= self.limits.per_minute
        while self._news and len(lines) < LINES and (not lines or length + len(self._news[0].text) < LONGEST - 80):
            lines.append(self._news.popleft())
            length += len(lines[-1].text) + 1
        if last_slot:  # what comes too late is no news: it is counted
            self._leave_out(len(self._news))
        counted = [f"+ {count:,}{mark}" for count, mark in ((self._left_out, ""), (self._uncertain, " ?")) if count]
        self._left_out = self._uncertain = 0
        self._since = now if self._news else None
        silent = all(one.silent for one in lines)
        return Message("\n".join([*(one.text for one in lines), *counted]), silent=silent, lines=tuple(lines))

    def put_back(self, message: Message, until: float, *, uncertain: bool = False) -> None:
        """Have a message again that could not be sent, and send nothing before a time; `uncertain`: it may have been.

        What is rather lost than said twice is not had again where that is uncertain.
        """
        self._blocked = max(self._blocked, until)
        if message.alarm:
            if message.alarm in self._alarms:
                self._alarms[message.alarm].due = until
                self._alarms[message.alarm].sent = uncertain or message.again
        elif uncertain and message.lines:
            self._uncertain += sum(not one.matters for one in message.lines)
            again = [replace(one, text=f"{AGAIN} {one.text}") for one in message.lines if one.matters]
            self._news.extendleft(reversed(again))
            self._since = until if self._since is None else self._since
        elif message.digests:
            self._digests.extendleft(reversed(() if uncertain else message.digests))
        elif message.sent_as is None or not any(one.sent_as == message.sent_as for one in self._answers):
            self._answers.appendleft(message)

    def next_at(self, now: float) -> float | None:
        """When there may be something to send; None while nothing waits."""
        times = [one.due for one in self._alarms.values()]
        if self._answers or self._digests:
            times.append(now)
        if self._since is not None:
            full = len(self._sent) >= self.limits.per_minute
            times.append(max(self._since + self.limits.gather_seconds, self._sent[0] + MINUTE if full else 0.0))
        return max(min(times), self._blocked) if times else None
