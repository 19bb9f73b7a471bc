"""Alert rules for Prometheus: what is wrong, from when on, and what to do. `deploy/prometheus` has them as YAML.

`python -m services.alert_rules` writes that file anew; a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CRITICAL, WARNING = "critical", "warning"
FILE = Path("deploy/prometheus/alerts.yaml")


@dataclass(frozen=True)
class AlertRule:
    """One alert: `expr` in PromQL holds for `lasting` before it is said."""

    name: str
    expr: str
    lasting: str
    severity: str
    sentence: str
    remedy: str

    def document(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.sentence, "remedy": self.remedy},
        }


def _down(name: str, job: str, lasting: str, severity: str, remedy: str) -> AlertRule:
    sentence = f"{job} at {{{{ $labels.instance }}}} does not answer"
    return AlertRule(name, f'up{{job="traderagent-{job}"}} == 0', lasting, severity, sentence, remedy)


LAG = "histogram_quantile(0.99, sum by (instance, le) (rate(traderagent_loop_lag_seconds_bucket[5m])))"
REACTION = "histogram_quantile(0.99, sum by (instance, le) (rate(traderagent_fill_to_order_seconds_bucket[5m])))"
RULES = (
    _down("BotDown", "bot", "1m", CRITICAL, "`traderagent logs`; stops and targets rest at the exchange"),
    _down("ConsoleDown", "console", "2m", WARNING, "`traderagent web`; bots do not notice"),
    _down("WorkerDown", "worker", "5m", WARNING, "`traderagent worker`; its jobs go to others after their lease"),
    _down("CollectorDown", "collector", "2m", WARNING, "`traderagent collect`; gaps are filled when it runs again"),
    AlertRule(
        "VenueSilent",
        "traderagent_stream_age_seconds > 60",
        "1m",
        CRITICAL,
        "the bot has not heard of its exchange for {{ $value | humanizeDuration }}",
        "look at the exchange's status and the network; the bot opens nothing meanwhile",
    ),
    AlertRule(
        "Halted",
        'traderagent_mode{mode="halt"} == 1',
        "0m",
        CRITICAL,
        "the bot has halted and waits for a decision",
        "decide in the console, over Telegram, or by `traderagent ctl hold | reduce-50 | close-all`",
    ),
    AlertRule(
        "DrawdownMode",
        'traderagent_mode{mode="drawdown"} == 1',
        "0m",
        WARNING,
        "the drawdown has reduced what the bot risks",
        "`traderagent ctl status` has losses beside their limits",
    ),
    AlertRule(
        "PairHeldOff",
        'traderagent_pair_held_off{reason!="operator"} == 1',
        "10m",
        WARNING,
        "{{ $labels.pair }} opens nothing: {{ $labels.reason }}",
        "the alarm of that name in the log says what to do",
    ),
    AlertRule(
        "PositionsCorrected",
        "increase(traderagent_corrections_total[15m]) > 3",
        "0m",
        WARNING,
        "the exchange was not as the bot believed, again and again, on {{ $labels.pair }}",
        "look for somebody else who trades on this account",
    ),
    AlertRule(
        "DriftAboveLimit",
        "traderagent_drift_bps > traderagent_drift_limit_bps",
        "0m",
        WARNING,
        "yesterday cost {{ $value }} bps more than its simulation",
        "`traderagent drift` lists the fills that differ and why",
    ),
    AlertRule(
        "LoopLate",
        f"{LAG} > 0.5",
        "5m",
        WARNING,
        "the bot's loop wakes late: p99 {{ $value | humanizeDuration }}",
        "the machine has too little processor; move workers and searches elsewhere",
    ),
    AlertRule(
        "FillsAnsweredLate",
        f"{REACTION} > 2",
        "5m",
        WARNING,
        "fills are answered late: p99 {{ $value | humanizeDuration }}",
        "look at the exchange's delay, the database and the machine's load",
    ),
    AlertRule(
        "ConsoleBlind",
        "traderagent_console_source_away == 1",
        "1m",
        WARNING,
        "the console does not reach its {{ $labels.source }}",
        "start it, or look at its log",
    ),
    AlertRule(
        "JobsFail",
        'sum(increase(traderagent_jobs_ended_total{status="failed"}[15m])) > 3',
        "0m",
        WARNING,
        "jobs fail one after the other",
        "`traderagent jobs list` and `jobs show` say why",
    ),
    AlertRule(
        "LeasesLost",
        "increase(traderagent_jobs_leases_lost_total[15m]) > 0",
        "0m",
        WARNING,
        "a worker has lost a job while it was alive",
        "raise --lease, or start fewer workers on that machine",
    ),
    AlertRule(
        "CollectorLate",
        "traderagent_collector_lag_p99_seconds > 30",
        "2m",
        WARNING,
        "minutes of {{ $labels.market }} come late: p99 {{ $value | humanizeDuration }}",
        "docs/market_data.md, runbook: lag",
    ),
    AlertRule(
        "MarketUnreachable",
        "traderagent_collector_reachable == 0",
        "2m",
        WARNING,
        "{{ $labels.market }} does not answer the collector",
        "look at the exchange's status; gaps are filled when it answers",
    ),
    AlertRule(
        "MinutesMissing",
        "sum by (market, symbol) (traderagent_collector_missing_minutes) > 5",
        "5m",
        WARNING,
        "{{ $labels.symbol }} on {{ $labels.market }} lacks {{ $value }} minutes",
        "docs/market_data.md, runbook: gap",
    ),
)


def rules_file() -> str:
    """The file of all rules."""
    document = {"groups": [{"name": "traderagent", "rules": [one.document() for one in RULES]}]}
    head = "# Written by `python -m services.alert_rules`; change the rules there.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=110)


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(rules_file(), encoding="utf-8")
