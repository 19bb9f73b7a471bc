"""What is wrong with a console, a worker or a collector, as its address answers: for those without Prometheus.

Pure: the answers and the time (seconds) arrive with every call.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.alert_conditions import BY_ID, AlertCondition, probed
from services.watchdog.notices import Notice, SaidConditions

# Values of metrics, each with its labels in words.
Shown = dict[str, list[tuple[str, float]]]


@dataclass
class ServiceWatch:
    """What is known of one service."""

    service: str  # console, worker or collector
    name: str  # of this one: the service, and where it is
    repeat: float
    why: str = ""  # why it does not answer; empty: it does, or was not asked yet
    shown: Shown = field(default_factory=dict)
    _said: SaidConditions = field(init=False)

    def __post_init__(self) -> None:
        self._said = SaidConditions(self.name, self.repeat)

    def answered(self, text: str) -> None:
        """Hear what its address answers; metrics are read where there are some."""
        self.why, self.shown = "", metrics_of(text, [one.measure for one in probed(self.service)])

    def silent(self, why: str) -> None:
        """Hear that it does not answer."""
        self.why = why

    def is_well(self) -> bool:
        """Whether nothing that was said is still true."""
        return self._said.are_over()

    def evaluate(self, now: float) -> list[Notice]:
        """Say what has begun, what still holds and was said long ago, and what is over."""
        down = BY_ID[f"{self.service}_down"]
        found = [self._of(down, f"it does not answer: {self.why}" if self.why else "", now)]
        if not self.why:  # what cannot be known is neither said nor over
            known = [one for one in probed(self.service) if one.measure in self.shown]
            found += [self._of(one, self._beyond(one), now) for one in known]
        return [one for one in found if one is not None]

    def _of(self, condition: AlertCondition, wrong: str, now: float) -> Notice | None:
        if not wrong:
            return self._said.ended(condition.id)
        return self._said.noticed(condition.id, wrong, now, now, condition.seconds)

    def _beyond(self, condition: AlertCondition) -> str:
        """Say where a metric is beyond its limit."""
        values = self.shown[condition.measure]
        over = [f"{labels} {value:g}".strip() for labels, value in values if condition.is_beyond(value)]
        return f"{condition.meaning}: {', '.join(over)}" if over else ""


def metrics_of(text: str, names: list[str]) -> Shown:
    """Read the metrics of these names, without those that have no value; other text has none."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415, only where there are probes

    found: Shown = {}
    try:
        for family in text_string_to_metric_families(text):
            for one in family.samples:
                if one.name in names and one.value == one.value:
                    labels = " ".join(str(label) for label in one.labels.values())
                    found.setdefault(one.name, []).append((labels, float(one.value)))
    except (ValueError, KeyError, IndexError):
        return {}
    return found
