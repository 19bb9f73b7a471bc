"""Grafana dashboards from one table of panels. `deploy/grafana` has them as JSON.

`python -m services.dashboards` writes them anew; a test compares, and asks Prometheus' tool about every expression.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.alert_conditions import CONDITIONS, LAG, REACTION

FOLDER = Path("deploy/grafana")
WIDTH, HEIGHT, COLUMNS = 8, 7, 3  # of a panel in Grafana's grid of 24, and panels in a row
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class GraphPanel:
    """A graph: expressions with their legends."""

    title: str
    unit: str  # as Grafana names it
    series: tuple[tuple[str, str], ...]
    limit: float | None = None  # a line at this value
    description: str = ""


def _collector(title: str, metric: str, unit: str, legend: str) -> GraphPanel:
    return GraphPanel(title, unit, ((f"traderagent_collector_{metric}", legend),))


def _alerts() -> tuple[GraphPanel, ...]:
    """What fires, and each condition of Prometheus' beside its limit."""
    firing = GraphPanel("Alerts that fire", "none", (('ALERTS{alertstate="firing"}', "{{alertname}} {{instance}}"),))
    return firing, *(
        GraphPanel(one.name, "none", ((one.measure, ""),), one.threshold, f"{one.meaning} ({one.limit}). {one.remedy}")
        for one in CONDITIONS
        if one.measure
    )


BY_PAIR = "{{pair}}"
DASHBOARDS = {
    "alerts": _alerts(),
    "bots": (
        GraphPanel("Equity and wallet", "none", (("traderagent_equity", "equity"), ("traderagent_wallet", "wallet"))),
        GraphPanel(
            "Losses", "percent", (("traderagent_day_loss_pct", "day"), ("traderagent_drawdown_pct", "drawdown"))
        ),
        GraphPanel("Exposure by pair", "none", (("traderagent_pair_exposure", BY_PAIR),)),
        GraphPanel("Modes", "none", (("traderagent_mode", "{{mode}}"),)),
        GraphPanel("Pairs that open nothing", "none", (("traderagent_pair_held_off", "{{pair}} {{reason}}"),)),
        GraphPanel("Open orders by pair", "none", (("traderagent_pair_open_orders", BY_PAIR),)),
        GraphPanel("Fills an hour", "none", (("increase(traderagent_fills_total[1h])", BY_PAIR),)),
        GraphPanel("Corrections an hour", "none", (("increase(traderagent_corrections_total[1h])", BY_PAIR),)),
        GraphPanel("Last heard of the exchange", "s", (("traderagent_stream_age_seconds", "{{instance}}"),)),
        GraphPanel(
            "Answers of the exchange by code", "none", (("increase(traderagent_gateway_errors_total[1h])", "{{code}}"),)
        ),
        GraphPanel("Drift of the last day, bps", "none", (("traderagent_drift_bps", "{{instance}}"),)),
        GraphPanel("Fill to order, p99", "s", ((REACTION, "{{instance}}"),)),
        GraphPanel("Loop wakes late, p99", "s", ((LAG, "{{instance}}"),)),
    ),
    "workers": (
        GraphPanel("Jobs that are played", "none", (("traderagent_jobs_active", "{{instance}}"),)),
        GraphPanel("Jobs ended an hour", "none", (("increase(traderagent_jobs_ended_total[1h])", "{{status}}"),)),
        GraphPanel(
            "Leases lost an hour", "none", (("increase(traderagent_jobs_leases_lost_total[1h])", "{{instance}}"),)
        ),
        GraphPanel(
            "Duration, median",
            "s",
            (
                (
                    "histogram_quantile(0.5, sum by (kind, le) (rate(traderagent_job_seconds_bucket[1h])))",
                    "{{kind}}",
                ),
            ),
        ),
    ),
    "market_data": (
        _collector("Minutes come late, p99", "lag_p99_seconds", "s", "{{market}}"),
        _collector("Completeness", "completeness", "percentunit", "{{market}} {{symbol}}"),
        _collector("Missing minutes", "missing_minutes", "none", "{{market}} {{symbol}} {{cause}}"),
        _collector("Market answers", "reachable", "none", "{{market}}"),
        _collector("Stream is up", "stream_up", "none", "{{market}}"),
        GraphPanel("Rows a second", "none", (("rate(traderagent_collector_rows_total[5m])", "{{market}} {{source}}"),)),
    ),
}


def dashboard(name: str) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    title = name.replace("_", " ")
    return {
        "uid": f"traderagent-{name.replace('_', '-')}",
        "title": f"traderagent: {title}",
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, one) for number, one in enumerate(DASHBOARDS[name])],
    }


def _panel(number: int, one: GraphPanel) -> dict[str, Any]:
    place = {"x": number % COLUMNS * WIDTH, "y": number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": one.title,
        **({"description": one.description} if one.description else {}),
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": one.unit, **_line(one.limit)}, "overrides": []},
        "targets": [
            {"refId": chr(65 + at), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
            for at, (expr, legend) in enumerate(one.series)
        ],
    }


def _line(limit: float | None) -> dict[str, Any]:
    """A red line at a value; nothing without one."""
    if limit is None:
        return {}
    steps = [{"color": "transparent", "value": None}, {"color": "red", "value": limit}]
    return {
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": {"thresholdsStyle": {"mode": "line"}},
    }


def dashboard_file(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(dashboard(name), indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for one in DASHBOARDS:
        (FOLDER / f"{one}.json").write_text(dashboard_file(one), encoding="utf-8")
