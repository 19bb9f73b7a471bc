"""The one table of what is worth an alert: what it means, from when on, how grave it is, what to do, and who sees it.

Prometheus' rules, Grafana's dashboard of alerts, docs/alerts.md, and the words of watchdog, bots and Telegram come from
it. Loads nothing: the watchdog has to live where a bot has taken all the memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

PLAIN = re.compile(r"traderagent_\w+")  # a measure that is one metric as a process shows it


class Severity(StrEnum):
    """How grave an alert is."""

    CRITICAL = "critical"  # money may be at risk: somebody has to look now
    WARNING = "warning"


class Observer(StrEnum):
    """Who notices without Prometheus."""

    BOT = "bot"  # as an alarm in its log, on the bus, and so over Telegram
    TELEGRAM = "telegram"  # its service, which looks at every bot
    WATCHDOG = "watchdog"
    PROBE = "probe"  # of the watchdog, where its config names the service's address


@dataclass(frozen=True)
class AlertCondition:
    """One condition. `measure` (PromQL) is beyond `limit` for `seconds` before it is said."""

    name: str  # as Prometheus and Grafana say it
    id: str  # as bots, watchdog and webhooks say it
    meaning: str
    severity: Severity
    remedy: str
    seconds: float = 0.0
    measure: str = ""  # empty: Prometheus cannot see it
    limit: str = ""
    sentence: str = ""  # Prometheus': with labels and value
    seen_by: tuple[Observer, ...] = ()
    service: str = ""  # whose probe sees it

    @property
    def expr(self) -> str:
        """What Prometheus evaluates."""
        return f"{self.measure} {self.limit}"

    @property
    def threshold(self) -> float:
        """The number of the limit."""
        return float(self.limit.split()[1])

    def is_beyond(self, value: float) -> bool:
        """Whether a value of a plain measure is beyond the limit."""
        return value > self.threshold if self.limit.startswith(">") else value == self.threshold


def _down(service: str, seconds: float, remedy: str) -> AlertCondition:
    return AlertCondition(
        name=f"{service.capitalize()}Down",
        id=f"{service}_down",
        meaning=f"a {service} does not answer",
        severity=Severity.WARNING,
        remedy=remedy,
        seconds=seconds,
        measure=f'up{{job="traderagent-{service}"}}',
        limit="== 0",
        sentence=f"{service} at {{{{ $labels.instance }}}} does not answer",
        seen_by=(Observer.PROBE,),
        service=service,
    )


def _p99(histogram: str) -> str:
    return f"histogram_quantile(0.99, sum by (instance, le) (rate({histogram}_bucket[5m])))"


LAG, REACTION = _p99("traderagent_loop_lag_seconds"), _p99("traderagent_fill_to_order_seconds")
CONDITIONS = (
    AlertCondition(
        name="BotDown",
        id="silent",
        meaning="a bot does not answer",
        severity=Severity.CRITICAL,
        remedy="look at `traderagent logs` and start it again; stops and targets rest at the exchange",
        seconds=30.0,
        measure='up{job="traderagent-bot"}',
        limit="== 0",
        sentence="bot at {{ $labels.instance }} does not answer",
        seen_by=(Observer.WATCHDOG, Observer.TELEGRAM),
    ),
    _down("console", 120.0, "`traderagent web`; bots do not notice"),
    _down("worker", 300.0, "`traderagent worker`; its jobs go to others after their lease"),
    _down("collector", 120.0, "`traderagent collect`; gaps are filled when it runs again"),
    AlertCondition(
        name="Unreachable",
        id="unreachable",
        meaning="what a service answers does not arrive where you look from",
        severity=Severity.WARNING,
        remedy="look at the proxy and the network between; where the service itself is down, its own alert says so",
        seconds=120.0,
        measure='probe_success{job="traderagent-blackbox"}',
        limit="== 0",
        sentence="{{ $labels.instance }} is not reached from outside",
    ),
    AlertCondition(
        name="VenueSilent",
        id="silence",
        meaning="a bot has not heard of its exchange for a minute",
        severity=Severity.CRITICAL,
        remedy="look at the exchange's status and the network; the bot opens nothing meanwhile",
        seconds=60.0,
        measure="traderagent_stream_age_seconds",
        limit="> 60",
        sentence="the bot has not heard of its exchange for {{ $value | humanizeDuration }}",
        seen_by=(Observer.BOT,),
    ),
    AlertCondition(
        name="PairUnreconciled",
        id="unreconciled",
        meaning="a pair has not been compared with the exchange",
        severity=Severity.CRITICAL,
        remedy="look at `traderagent logs`; if the exchange can be reached from here, restart the bot",
        measure="traderagent_pair_reconciled_seconds",
        limit="> 180",
        sentence="{{ $labels.pair }} not compared with the exchange for {{ $value | humanizeDuration }}",
        seen_by=(Observer.WATCHDOG,),
    ),
    AlertCondition(
        name="FillsUnknown",
        id="fills_unknown",
        meaning="the exchange holds another position than a bot believes",
        severity=Severity.CRITICAL,
        remedy="look at the position on the exchange's page; if it is protected, restart the bot",
        seconds=20.0,
        seen_by=(Observer.WATCHDOG,),
    ),
    AlertCondition(
        name="EquityOff",
        id="equity_off",
        meaning="equity at the exchange and in a bot differ",
        severity=Severity.CRITICAL,
        remedy="look at the account on the exchange's page for transfers and trades that are not the bot's",
        seconds=120.0,
        seen_by=(Observer.WATCHDOG,),
    ),
    AlertCondition(
        name="WatchdogBlind",
        id="blind",
        meaning="the exchange does not answer the watchdog, or refuses its key",
        severity=Severity.CRITICAL,
        remedy="look at the network and at the watchdog's key; positions are not compared until then",
        seconds=120.0,
        seen_by=(Observer.WATCHDOG,),
    ),
    AlertCondition(
        name="Halted",
        id="halted",
        meaning="a bot has halted and waits for its operator's decision",
        severity=Severity.CRITICAL,
        remedy="decide in the console, over Telegram, or by `traderagent ctl hold | reduce-50 | close-all`",
        measure='traderagent_mode{mode="halt"}',
        limit="== 1",
        sentence="the bot has halted and waits for a decision",
        seen_by=(Observer.WATCHDOG, Observer.TELEGRAM),
    ),
    AlertCondition(
        name="PairHeldOff",
        id="held_off",
        meaning="a pair opens nothing, and neither its operator nor silence is why",
        severity=Severity.CRITICAL,
        remedy="look at `traderagent ctl status` and the position at the exchange, then resume the pair",
        seconds=60.0,
        measure='traderagent_pair_held_off{reason!~"operator|silence"}',
        limit="== 1",
        sentence="{{ $labels.pair }} opens nothing: {{ $labels.reason }}",
        seen_by=(Observer.BOT, Observer.WATCHDOG),
    ),
    AlertCondition(
        name="PositionUnprotected",
        id="unprotected",
        meaning="a position has no stop at the exchange",
        severity=Severity.CRITICAL,
        remedy="set a stop for it on the exchange's page, or close it by `traderagent ctl close --pair`",
        seconds=15.0,
        seen_by=(Observer.TELEGRAM,),
    ),
    AlertCondition(
        name="StoreAway",
        id="store_away",
        meaning="a bot's database cannot be written to: it is away, read-only, or its disk is full",
        severity=Severity.CRITICAL,
        remedy="look at the database and its disk; entries leave the venue until it takes changes, exits go on",
        seen_by=(Observer.BOT,),
    ),
    AlertCondition(
        name="DrawdownMode",
        id="drawdown",
        meaning="the drawdown has reduced what a bot risks",
        severity=Severity.WARNING,
        remedy="`traderagent ctl status` has losses beside their limits",
        measure='traderagent_mode{mode="drawdown"}',
        limit="== 1",
        sentence="the drawdown has reduced what the bot risks",
    ),
    AlertCondition(
        name="PositionsCorrected",
        id="corrected",
        meaning="the exchange was not as a bot believed, again and again",
        severity=Severity.WARNING,
        remedy="look for somebody else who trades on this account",
        measure="increase(traderagent_corrections_total[15m])",
        limit="> 3",
        sentence="the exchange was not as the bot believed, again and again, on {{ $labels.pair }}",
    ),
    AlertCondition(
        name="DriftAboveLimit",
        id="drift",
        meaning="a day cost more than its simulation, beyond `bot.drift_limit_bps`",
        severity=Severity.WARNING,
        remedy="`traderagent drift` lists the fills that differ and why; look at fees, latency and slippage first",
        measure="traderagent_drift_bps - traderagent_drift_limit_bps",
        limit="> 0",
        sentence="yesterday cost {{ $value }} bps more beside its simulation than `bot.drift_limit_bps` allows",
        seen_by=(Observer.BOT,),
    ),
    AlertCondition(
        name="KeyExpires",
        id="key_expiry",
        meaning="a bot's API key expires within two weeks, or has",
        severity=Severity.WARNING,
        remedy="make a key bound to this machine's address, `traderagent keys rotate`, and `traderagent ctl reload`",
        measure='traderagent_trouble{id="key_expiry"}',
        limit="== 1",
        sentence="the API key of {{ $labels.instance }} expires soon, or has",
        seen_by=(Observer.BOT,),
    ),
    AlertCondition(
        name="KeyMayTooMuch",
        id="key_rights",
        meaning="a bot's API key may more than its config accepts",
        severity=Severity.WARNING,
        remedy="take what it may too much from the key on the exchange's page, or bind it to this machine's address",
        measure='traderagent_trouble{id="key_rights"}',
        limit="== 1",
        sentence="the API key of {{ $labels.instance }} may more than its config accepts",
        seen_by=(Observer.BOT,),
    ),
    AlertCondition(
        name="UnexplainedMoney",
        id="unexplained_money",
        meaning="money came or went that is neither trade nor transfer",
        severity=Severity.WARNING,
        remedy="look at the account's log",
        seen_by=(Observer.BOT,),
    ),
    AlertCondition(
        name="LoopLate",
        id="loop_late",
        meaning="a bot's loop wakes late: the machine has too little processor",
        severity=Severity.WARNING,
        remedy="move workers and searches to another machine",
        seconds=300.0,
        measure=LAG,
        limit="> 0.5",
        sentence="the bot's loop wakes late: p99 {{ $value | humanizeDuration }}",
    ),
    AlertCondition(
        name="FillsAnsweredLate",
        id="fills_late",
        meaning="orders follow fills late",
        severity=Severity.WARNING,
        remedy="look at the exchange's delay, the database and the machine's load",
        seconds=300.0,
        measure=REACTION,
        limit="> 2",
        sentence="fills are answered late: p99 {{ $value | humanizeDuration }}",
    ),
    AlertCondition(
        name="ConsoleBlind",
        id="console_blind",
        meaning="the console does not reach database or Redis",
        severity=Severity.WARNING,
        remedy="start it, or look at its log",
        seconds=60.0,
        measure="traderagent_console_source_away",
        limit="== 1",
        sentence="the console does not reach its {{ $labels.source }}",
        seen_by=(Observer.PROBE,),
        service="console",
    ),
    AlertCondition(
        name="JobsFail",
        id="jobs_fail",
        meaning="jobs fail one after the other",
        severity=Severity.WARNING,
        remedy="`traderagent jobs list` and `jobs show` say why",
        measure='sum(increase(traderagent_jobs_ended_total{status="failed"}[15m]))',
        limit="> 3",
        sentence="jobs fail one after the other",
    ),
    AlertCondition(
        name="LeasesLost",
        id="leases_lost",
        meaning="a worker has lost a job while it was alive",
        severity=Severity.WARNING,
        remedy="raise --lease, or start fewer workers on that machine",
        measure="increase(traderagent_jobs_leases_lost_total[15m])",
        limit="> 0",
        sentence="a worker has lost a job while it was alive",
    ),
    AlertCondition(
        name="CollectorLate",
        id="collector_late",
        meaning="minutes come late to the collector",
        severity=Severity.WARNING,
        remedy="docs/market_data.md, runbook: lag",
        seconds=120.0,
        measure="traderagent_collector_lag_p99_seconds",
        limit="> 30",
        sentence="minutes of {{ $labels.market }} come late: p99 {{ $value | humanizeDuration }}",
        seen_by=(Observer.PROBE,),
        service="collector",
    ),
    AlertCondition(
        name="MarketUnreachable",
        id="market_unreachable",
        meaning="a market does not answer the collector",
        severity=Severity.WARNING,
        remedy="look at the exchange's status; gaps are filled when it answers",
        seconds=120.0,
        measure="traderagent_collector_reachable",
        limit="== 0",
        sentence="{{ $labels.market }} does not answer the collector",
        seen_by=(Observer.PROBE,),
        service="collector",
    ),
    AlertCondition(
        name="MinutesMissing",
        id="minutes_missing",
        meaning="stored candles have holes",
        severity=Severity.WARNING,
        remedy="docs/market_data.md, runbook: gap",
        seconds=300.0,
        measure="sum by (market, symbol) (traderagent_collector_missing_minutes)",
        limit="> 5",
        sentence="{{ $labels.symbol }} on {{ $labels.market }} lacks {{ $value }} minutes",
    ),
)
BY_ID = {one.id: one for one in CONDITIONS}


def by_id(name: str) -> AlertCondition:
    """Find a condition by the word that bots, watchdog and webhooks have for it."""
    return BY_ID[name]


def probed(service: str) -> tuple[AlertCondition, ...]:
    """Conditions of a service that its metrics tell, besides whether it answers."""
    return tuple(one for one in CONDITIONS if one.service == service and PLAIN.fullmatch(one.measure))
