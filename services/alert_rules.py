"""Writes what follows from the table of conditions: Prometheus' alert rules, and the page docs/alerts.md.

`python -m services.alert_rules` writes both anew; a test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from services.alert_conditions import CONDITIONS, AlertCondition, Observer

FILE, PAGE = Path("deploy/prometheus/alerts.yaml"), Path("docs/alerts.md")
RULES = tuple(one for one in CONDITIONS if one.measure)
HEAD = """# Alerts

Everything that is worth an alert, once: Prometheus' rules ([deploy/prometheus](../deploy/prometheus)), the dashboard of
alerts ([deploy/grafana](../deploy/grafana)), bots, [Telegram](telegram.md) and the [watchdog](watchdog.md) speak of the
same conditions, with the same limits and remedies. This page is written by `python -m services.alert_rules`.

*Also seen by* says who notices without Prometheus: a *bot* itself, as an alarm in its log and over Telegram;
*telegram*, the process that looks at every bot; the *watchdog*; or its *probe* of an address that its config names. The
watchdog has options for its own times ([its config](watchdog.md#its-config)).
"""
PIPE = r"\|"  # which does not end a cell
ROW = "| {name} | {meaning} | {lasting} | {severity} | {observers} | {remedy} |"


def rule(one: AlertCondition) -> dict[str, Any]:
    """A condition as Prometheus reads it."""
    return {
        "alert": one.name,
        "expr": one.expr,
        "for": f"{one.seconds:g}s",
        "labels": {"severity": one.severity.value, "id": one.id},
        "annotations": {"summary": one.sentence, "remedy": one.remedy},
    }


def rules_file() -> str:
    """The file of all rules."""
    document = {"groups": [{"name": "traderagent", "rules": [rule(one) for one in RULES]}]}
    head = "# Written by `python -m services.alert_rules` from services/alert_conditions.py; change the table there.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=110)


def page() -> str:
    """The page of all conditions, and what Prometheus evaluates of them."""
    rows = [_row(one) for one in CONDITIONS]
    head = ["| alert | when | after | severity | also seen by | what to do |", "|---|---|---|---|---|---|"]
    exprs = [f"| {one.name} | `{one.id}` | `{one.expr.replace('|', PIPE)}` |" for one in RULES]
    rest = [one.name for one in CONDITIONS if not one.measure]
    said = f"{', '.join(rest)} are not among Prometheus' rules: only who is named above sees them."
    table = ["## What Prometheus evaluates", "", "| alert | id | expression |", "|---|---|---|", *exprs]
    return "\n".join([HEAD, *head, *rows, "", *table, "", said, ""])


def _row(one: AlertCondition) -> str:
    lasting = f"{one.seconds:g} s" if one.seconds else "at once"
    observers = ", ".join(seen.value for seen in Observer if seen in one.seen_by) or "nobody else"
    told = {"name": one.name, "meaning": one.meaning, "severity": one.severity.value}
    told["remedy"] = one.remedy.replace("|", PIPE)
    return ROW.format(lasting=lasting, observers=observers, **told)


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(rules_file(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
