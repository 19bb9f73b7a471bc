"""What is said of a bot or a service: each condition begins once, is repeated rarely, and ends once.

Pure: time arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.alert_conditions import AlertCondition, by_id


@dataclass(frozen=True)
class Notice:
    """Something to say about a bot or a service: that a condition has begun, holds on, or is over."""

    bot: str  # or the service, and where it is
    condition: str  # id of the table's
    sentence: str
    over: bool = False

    @property
    def known(self) -> AlertCondition:
        """What the table says of it."""
        return by_id(self.condition)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return "" if self.over else self.known.remedy

    @property
    def text(self) -> str:
        """Say it to a person."""
        if self.over:
            return f"✅ {self.bot}: over: {self.sentence}"
        return f"🚨 {self.bot}: {self.sentence}. What to do: {self.remedy}."

    def text_in(self, language: str) -> str:
        """Say it in a language; in English where its catalogue cannot be read here."""
        if language == "en":
            return self.text
        try:
            from services.alert_words import AlertWords, alert_remedy, alert_sentence  # noqa: PLC0415
        except ImportError:  # without the extra `telegram`
            return self.text
        words = AlertWords(language)
        if words.language == "en":
            return self.text
        said = alert_sentence(words, self.condition, self.sentence)
        if self.over:
            return f"✅ {self.bot}: {words('alert-over', sentence=said)}"
        return f"🚨 {self.bot}: {words('alert-do', sentence=said, remedy=alert_remedy(words, self.condition))}"


@dataclass
class _Seen:
    """A condition that is seen: since when, and when it was said last."""

    since: float
    sentence: str
    said: float | None = None


@dataclass
class SaidConditions:
    """What was seen and said of one bot or service."""

    bot: str
    repeat: float  # seconds until what still holds is said again
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def noticed(self, condition: str, sentence: str, now: float, since: float, patience: float) -> Notice | None:
        """See a condition; what is to be said of it, if anything."""
        seen = self._seen.setdefault(condition, _Seen(since, sentence))
        seen.sentence = sentence
        if now - seen.since < patience or (seen.said is not None and now - seen.said < self.repeat):
            return None
        seen.said = now
        return Notice(self.bot, condition, sentence)

    def ended(self, condition: str) -> Notice | None:
        """See that a condition does not hold; that it is over, where it was said."""
        seen = self._seen.pop(condition, None)
        if seen is None or seen.said is None:
            return None
        return Notice(self.bot, condition, seen.sentence, over=True)

    def are_over(self) -> bool:
        """Whether nothing that was said is still true."""
        return all(one.said is None for one in self._seen.values())
