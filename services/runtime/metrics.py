"""What a running bot shows to Prometheus: read from its status when asked, counted where it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

PREFIX = "traderagent"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Counted:
    """What is counted as it happens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.fills = Counter(f"{PREFIX}_fills", "Fills booked", ["pair"], registry=registry)
        self.orders = Counter(f"{PREFIX}_orders", "Changes sent, by outcome", ["action", "outcome"], registry=registry)
        self.latency = Histogram(
            f"{PREFIX}_fill_to_order_seconds",
            "From hearing of a fill to sending the next order of its pair",
            buckets=SECONDS,
            registry=registry,
        )
        self.lag = Histogram(
            f"{PREFIX}_loop_lag_seconds", "How late the event loop wakes", buckets=SECONDS, registry=registry
        )


class Standing(Collector):
    """Gauges that are the bot's status."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self.status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the status once and say it in metrics."""
        now = self.status()
        if not now:  # nobody has asked yet
            return
        for name in ("equity", "wallet", "exposure", "day_loss_pct", "drawdown_pct", "stream_age_seconds"):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", name.replace("_", " "), value=now[name])
        modes = GaugeMetricFamily(f"{PREFIX}_mode", "1 while the mode holds", labels=["mode"])
        for mode in ("reduced", "stress", "drawdown", "halt"):
            modes.add_metric([mode], float(mode in now["modes"]))
        yield modes
        errors = GaugeMetricFamily(f"{PREFIX}_gateway_errors", "Answers of the venue by code", labels=["code"])
        for code, count in now["errors"].items():
            errors.add_metric([code], count)
        yield errors
        for name in ("position", "exposure", "entries", "exits", "resting", "corrections", "target"):
            family = GaugeMetricFamily(f"{PREFIX}_pair_{name}", f"{name} of the pair", labels=["pair"])
            for pair in now["pairs"]:
                family.add_metric([pair["pair"]], float(pair[name]))
            yield family
