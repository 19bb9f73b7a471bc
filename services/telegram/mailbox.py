"""What waits to be sent to one user, and what may be sent now. Pure: the time arrives with every call, seconds.

Answers go first and one by one, alarms next, each until it is acknowledged; news are gathered, and never sent more
often than the user's limit allows: what does not fit is counted. Nothing that an alarm says is ever dropped.
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
class Message:
    """Something that is sent: HTML, every value in it escaped."""

    text: str
    buttons: tuple[tuple[Button, ...], ...] = ()
    silent: bool = False
    alarm: str = ""  # id of the alarm that it says; empty: it says none
    picture: bytes | None = None  # PNG, under which the text stands
    sent_as: int | None = None  # message that it replaces
    called: str = ""  # what the sender calls it, to hear under which number it was sent


@dataclass
class _Alarm:
    message: Message
    due: float


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
    _news: deque[tuple[str, bool]] = field(default_factory=deque)  # lines, and whether each is silent
    _left_out: int = 0  # lines that had no room
    _since: float | None = None  # when the first line of news came
    _sent: deque[float] = field(default_factory=deque)  # when news were sent, within a minute
    _blocked: float = 0.0  # until when nothing is sent

    def answer(self, message: Message) -> None:
        """Send this as soon as may be; what waits to change the same message is out of date."""
        if message.sent_as is not None:
            self._answers = deque(one for one in self._answers if one.sent_as != message.sent_as)
        self._answers.append(message)

    def tell(self, line: str, now: float, *, silent: bool = False) -> None:
        """Gather a line of news."""
        if len(self._news) >= WAITING:
            self._news.popleft()
            self._left_out += 1
        self._news.append((line, silent))
        self._since = now if self._since is None else self._since

    def alarm(self, name: str, message: Message, now: float) -> None:
        """Say this until it is acknowledged or over; the same alarm again is not said twice."""
        if name not in self._alarms:
            self._alarms[name] = _Alarm(replace(message, alarm=name), now)

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

    def take(self, now: float) -> Message | None:
        """What is to be sent now; None where there is nothing, or it has to wait."""
        if now < self._blocked:
            return None
        if self._answers:
            return self._answers.popleft()
        due = min(self._alarms.values(), key=lambda one: one.due, default=None)
        if due is not None and due.due <= now:
            due.due = now + self.limits.repeat_seconds
            return due.message
        return self._gathered(now)

    def _gathered(self, now: float) -> Message | None:
        if self._since is None or now - self._since < self.limits.gather_seconds:
            return None
        while self._sent and now - self._sent[0] >= MINUTE:
            self._sent.popleft()
        if len(self._sent) >= self.limits.per_minute:
            return None
        self._sent.append(now)
        lines: list[str] = []
        silent, length = True, 0
        last_slot = len(self._sent) >= self.limits.per_minute
        while self._news and len(lines) < LINES and length + len(self._news[0][0]) + 1 < LONGEST - 80:
            line, is_silent = self._news.popleft()
            lines.append(line)
            silent, length = silent and is_silent, length + len(line) + 1
        if last_slot and self._news:  # what comes too late is no news: it is counted
            self._left_out += len(self._news)
            self._news.clear()
        if self._left_out:
            lines.append(f"+ {self._left_out:,}")
            self._left_out = 0
        self._since = now if self._news else None
        return Message("\n".join(lines), silent=silent)

    def put_back(self, message: Message, until: float) -> None:
        """Have a message again that could not be sent, and send nothing before a time."""
        self._blocked = max(self._blocked, until)
        if message.alarm:
            if message.alarm in self._alarms:
                self._alarms[message.alarm].due = until
        else:
            self._answers.appendleft(message)

    def next_at(self, now: float) -> float | None:
        """When there may be something to send; None while nothing waits."""
        times = [one.due for one in self._alarms.values()]
        if self._answers:
            times.append(now)
        if self._since is not None:
            full = len(self._sent) >= self.limits.per_minute
            times.append(max(self._since + self.limits.gather_seconds, self._sent[0] + MINUTE if full else 0.0))
        return max(min(times), self._blocked) if times else None
