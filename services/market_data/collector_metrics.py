"""What a collector shows to Prometheus: how fresh and how complete every symbol is, read when asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np
from prometheus_client import Metric
from prometheus_client import registry as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from services.market_data.collected import CollectedMarket, CollectedSeries
from services.market_data.collector import Collector

PREFIX: Final = "traderagent_collector"
OF_SYMBOL: Final = {
    "lag_seconds": "From the end of the newest minute that a stream told to its receipt",
    "newest_minute_seconds": "Opening of the newest minute, since the epoch",
    "completeness": "Share of the expected minutes that is there",
}


class CollectorMetrics(prometheus.Collector):
    """A collector's state as metrics."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector

    def collect(self) -> Iterator[Metric]:
        """Read the state once and say it in metrics."""
        markets = list(self.collector.markets.values())
        yield from _of_markets(self.collector, markets)
        yield from _of_symbols([one for market in markets for one in market.series.values()])
        rows = CounterMetricFamily(f"{PREFIX}_rows", "Rows received", labels=["market", "source"])
        for (number, source), count in self.collector.received.items():
            rows.add_metric([str(self.collector.markets[number].market), source], count)
        yield rows
        did = CounterMetricFamily(f"{PREFIX}_receptions", "Rows by what they did", labels=["market", "reception"])
        for (number, reception), count in self.collector.receptions.items():
            did.add_metric([str(self.collector.markets[number].market), reception], count)
        yield did
        yield from _of_trades(self.collector, markets)
        yield CounterMetricFamily(
            f"{PREFIX}_disagreements", "Closes of two venues too far apart", value=self.collector.disagreed
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_store_reachable", "1 while the store answers", value=float(not self.collector.store_away_ms)
        )
        yield GaugeMetricFamily(
            f"{PREFIX}_disk_full", "1 while the disk takes nothing", value=float(self.collector.disk_full)
        )


def _of_markets(collector: Collector, markets: list[CollectedMarket]) -> Iterator[Metric]:
    up = GaugeMetricFamily(f"{PREFIX}_stream_up", "1 while the market is listened to", labels=["market"])
    reachable = GaugeMetricFamily(f"{PREFIX}_reachable", "1 while the venue answers", labels=["market"])
    slow = GaugeMetricFamily(f"{PREFIX}_lag_p99_seconds", "99 % of the last 2000 rows came in", labels=["market"])
    for one in markets:
        name, lags = [str(one.market)], collector.lags_ms[one.market.id]
        up.add_metric(name, float(one.listening))
        reachable.add_metric(name, float(one.reachable))
        if lags:
            slow.add_metric(name, float(np.percentile(lags, 99)) / 1000)
    yield from (up, reachable, slow)


def _of_trades(collector: Collector, markets: list[CollectedMarket]) -> Iterator[Metric]:
    """Figures of markets whose trades are kept."""
    trades = collector.trades
    rows = CounterMetricFamily(f"{PREFIX}_trades", "Trades received", labels=["market", "source"])
    again = CounterMetricFamily(f"{PREFIX}_trades_again", "Trades that were known already", labels=["market"])
    missed = CounterMetricFamily(f"{PREFIX}_trades_missed", "Spans that the venue tells no more", labels=["market"])
    slow = GaugeMetricFamily(f"{PREFIX}_trade_lag_p99_seconds", "99 % of the last 2000 came in", labels=["market"])
    for (number, source), count in trades.received.items():
        rows.add_metric([str(trades.markets[number].market), source], count)
    for one in [one for one in markets if one.wanted_trades]:
        name, lags = [str(one.market)], trades.lags_ms[one.market.id]
        again.add_metric(name, trades.duplicates[one.market.id])
        missed.add_metric(name, trades.missed[one.market.id])
        if lags:
            slow.add_metric(name, float(np.percentile(lags, 99)) / 1000)
    yield from (rows, again, missed, slow)


def _of_symbols(series: list[CollectedSeries]) -> Iterator[Metric]:
    families = {
        name: GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=["market", "symbol"])
        for name, told in OF_SYMBOL.items()
    }
    missing = GaugeMetricFamily(f"{PREFIX}_missing_minutes", "Missing, by cause", labels=["market", "symbol", "cause"])
    for one in series:
        names = [str(one.market), one.symbol]
        families["lag_seconds"].add_metric(names, one.lag_ms / 1000)
        families["newest_minute_seconds"].add_metric(names, one.newest / 1000)
        families["completeness"].add_metric(names, one.holes.completeness)
        causes: Counter[str] = Counter()
        for hole in one.holes.holes:
            causes[hole.cause] += hole.minutes
        for cause, count in causes.items():
            missing.add_metric([*names, cause], count)
    yield from families.values()
    yield missing
