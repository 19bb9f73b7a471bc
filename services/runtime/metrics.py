"""What a running bot shows to Prometheus: its status in metrics, read when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from coordinator.reaction import SECONDS

if TYPE_CHECKING:
    from coordinator.bot_status import BotStatus, PairStatus

_Gauge = Literal["position", "exposure", "entries", "exits", "open_orders", "target"]
_Counter = Literal["fills", "corrections", "refused_for_costs"]
PREFIX = "traderagent"


class StatusMetrics(Collector):
    """The bot's status as metrics, however many processes it has."""

    def __init__(self, status: Callable[[], BotStatus | None]) -> None:
        self.status = status

    def collect(self) -> Iterator[Metric]:
        """Read the status once and say it in metrics."""
        now = self.status()
        if now is None:  # nobody has asked yet
            return
        for name in ("equity", "wallet", "exposure", "day_loss_pct", "drawdown_pct", "stream_age_seconds"):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", name.replace("_", " "), value=now[name])
        modes = GaugeMetricFamily(f"{PREFIX}_mode", "1 while the mode holds", labels=["mode"])
        for mode in ("reduced", "stress", "drawdown", "halt"):
            modes.add_metric([mode], float(mode in now["modes"]))
        yield modes
        errors = CounterMetricFamily(f"{PREFIX}_gateway_errors", "Answers of the venue by code", labels=["code"])
        for code, count in now["errors"].items():
            errors.add_metric([code], count)
        yield errors
        orders = CounterMetricFamily(f"{PREFIX}_orders", "Changes sent, by outcome", labels=["action", "outcome"])
        for change, count in now["changes"].items():
            orders.add_metric(change.split(), count)
        yield orders
        yield from _by_pair(now["pairs"])


def _by_pair(pairs: list[PairStatus]) -> Iterator[Metric]:
    gauges: tuple[_Gauge, ...] = ("position", "exposure", "entries", "exits", "open_orders", "target")
    for name in gauges:
        family = GaugeMetricFamily(f"{PREFIX}_pair_{name}", f"{name} of the pair", labels=["pair"])
        for one in pairs:
            family.add_metric([one["pair"]], float(one[name]))
        yield family
    compared = GaugeMetricFamily(
        f"{PREFIX}_pair_reconciled_seconds", "Since the pair was compared with the venue", labels=["pair"]
    )
    for one in pairs:
        compared.add_metric([one["pair"]], one["reconciled_seconds"])
    yield compared
    off = GaugeMetricFamily(f"{PREFIX}_pair_held_off", "1 while the pair opens nothing", labels=["pair", "reason"])
    for one in pairs:
        for reason in one["held_off"]:
            off.add_metric([one["pair"], reason], 1.0)
    yield off
    counters: dict[_Counter, str] = {
        "fills": "Fills booked",
        "corrections": "Times that the venue was not as believed",
        "refused_for_costs": "Entries and transitions that would not have paid for their costs",
    }
    for counted, told in counters.items():
        counter = CounterMetricFamily(f"{PREFIX}_{counted}", told, labels=["pair"])
        for one in pairs:
            counter.add_metric([one["pair"]], float(one[counted]))
        yield counter
    counted_by = CounterMetricFamily(f"{PREFIX}_counted", "What strategies count, by name", labels=["pair", "name"])
    for one in pairs:
        for what, count in one["counts"].items():
            counted_by.add_metric([one["pair"], what], float(count))
    yield counted_by
    counts = accumulate(sum(column) for column in zip(*(one["reactions"]["counts"] for one in pairs), strict=True))
    bounds = [*(f"{bound:g}" for bound in SECONDS), "+Inf"]
    told = "From hearing of a fill to sending the next order of its pair"
    latency = HistogramMetricFamily(f"{PREFIX}_fill_to_order_seconds", told)
    total = sum(one["reactions"]["seconds"] for one in pairs)
    latency.add_metric([], [(bound, float(count)) for bound, count in zip(bounds, counts, strict=True)], total)
    yield latency
