"""Alert rules: each is raised by exactly one fault, none without it, as Prometheus' own tool evaluates them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from bot.sources import ROOT
from services.alert_rules import FILE, RULES, rules_file
from services.dashboards import DASHBOARDS, FOLDER, dashboard, dashboard_file

# What Prometheus sees while all is well, a value a minute, and what one fault makes of it.
WELL = {
    'up{job="traderagent-bot", instance="b"}': "1x60",
    'up{job="traderagent-console", instance="c"}': "1x60",
    'up{job="traderagent-worker", instance="w"}': "1x60",
    'up{job="traderagent-collector", instance="m"}': "1x60",
    "traderagent_stream_age_seconds": "1x60",
    'traderagent_mode{mode="halt"}': "0x60",
    'traderagent_mode{mode="drawdown"}': "0x60",
    'traderagent_pair_held_off{pair="BTCUSDT", reason="operator"}': "1x60",
    'traderagent_pair_held_off{pair="BTCUSDT", reason="silence"}': "0x60",
    'traderagent_corrections_total{pair="BTCUSDT"}': "0+0x60",
    "traderagent_drift_bps": "2x60",
    "traderagent_drift_limit_bps": "10x60",
    'traderagent_loop_lag_seconds_bucket{instance="b", le="0.05"}': "0+10x60",
    'traderagent_loop_lag_seconds_bucket{instance="b", le="1"}': "0+10x60",
    'traderagent_loop_lag_seconds_bucket{instance="b", le="+Inf"}': "0+10x60",
    'traderagent_fill_to_order_seconds_bucket{instance="b", le="0.05"}': "0+10x60",
    'traderagent_fill_to_order_seconds_bucket{instance="b", le="5"}': "0+10x60",
    'traderagent_fill_to_order_seconds_bucket{instance="b", le="+Inf"}': "0+10x60",
    'traderagent_console_source_away{source="database"}': "0x60",
    'traderagent_jobs_ended_total{status="failed"}': "0+0x60",
    'traderagent_jobs_ended_total{status="succeeded"}': "0+9x60",
    "traderagent_jobs_leases_lost_total": "0+0x60",
    'traderagent_collector_lag_p99_seconds{market="bybit spot"}': "1x60",
    'traderagent_collector_reachable{market="bybit spot"}': "1x60",
    'traderagent_collector_missing_minutes{market="bybit spot", symbol="BTCUSDT", cause="venue"}': "1x60",
}
FAULTS = {
    "BotDown": {'up{job="traderagent-bot", instance="b"}': "0x60"},
    "ConsoleDown": {'up{job="traderagent-console", instance="c"}': "0x60"},
    "WorkerDown": {'up{job="traderagent-worker", instance="w"}': "0x60"},
    "CollectorDown": {'up{job="traderagent-collector", instance="m"}': "0x60"},
    "VenueSilent": {"traderagent_stream_age_seconds": "90x60"},
    "Halted": {'traderagent_mode{mode="halt"}': "1x60"},
    "DrawdownMode": {'traderagent_mode{mode="drawdown"}': "1x60"},
    "PairHeldOff": {'traderagent_pair_held_off{pair="BTCUSDT", reason="silence"}': "1x60"},
    "PositionsCorrected": {'traderagent_corrections_total{pair="BTCUSDT"}': "0+1x60"},
    "DriftAboveLimit": {"traderagent_drift_bps": "12x60"},
    "LoopLate": {'traderagent_loop_lag_seconds_bucket{instance="b", le="0.05"}': "0+1x60"},
    "FillsAnsweredLate": {'traderagent_fill_to_order_seconds_bucket{instance="b", le="0.05"}': "0+1x60"},
    "ConsoleBlind": {'traderagent_console_source_away{source="database"}': "1x60"},
    "JobsFail": {'traderagent_jobs_ended_total{status="failed"}': "0+1x60"},
    "LeasesLost": {"traderagent_jobs_leases_lost_total": "0+1x60"},
    "CollectorLate": {'traderagent_collector_lag_p99_seconds{market="bybit spot"}': "45x60"},
    "MarketUnreachable": {'traderagent_collector_reachable{market="bybit spot"}': "0x60"},
    "MinutesMissing": {
        'traderagent_collector_missing_minutes{market="bybit spot", symbol="BTCUSDT", cause="venue"}': "9x60"
    },
}
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="Prometheus' promtool is not installed")


def promtool(*arguments):
    done = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_file_is_what_the_rules_say():
    assert (ROOT / FILE).read_text() == rules_file(), "run `python -m services.alert_rules`"
    assert len({one.name for one in RULES}) == len(RULES) and set(FAULTS) == {one.name for one in RULES}
    assert all(one.sentence and one.remedy for one in RULES)


@needs_promtool
def test_prometheus_takes_config_and_rules():
    for what, name in (("rules", "alerts.yaml"), ("config", "prometheus.yml")):
        code, said = promtool("check", what, ROOT / "deploy" / "prometheus" / name)
        assert code == 0, said


@needs_promtool
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_fault_raises_its_alert_and_no_other(tmp_path, fault):
    series = [{"series": name, "values": values} for name, values in (WELL | FAULTS.get(fault, {})).items()]
    silent = [{"eval_time": "40m", "alertname": one.name, "exp_alerts": []} for one in RULES if one.name != fault]
    tests = {"interval": "1m", "input_series": series, "alert_rule_test": silent}
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ROOT / FILE)], "tests": [tests]}))
    code, said = promtool("test", "rules", path)
    assert code == 0, said
    if fault is not None:  # asked to be silent too, it is not
        tests["alert_rule_test"] = [{"eval_time": "40m", "alertname": fault, "exp_alerts": []}]
        path.write_text(yaml.safe_dump({"rule_files": [str(ROOT / FILE)], "tests": [tests]}))
        code, said = promtool("test", "rules", path)
        assert code == 1 and f'alertname="{fault}"' in said


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_what_its_panels_say(name):
    assert (ROOT / FOLDER / f"{name}.json").read_text() == dashboard_file(name), "run `python -m services.dashboards`"
    places = [one["gridPos"] for one in dashboard(name)["panels"]]
    assert len({(one["x"], one["y"]) for one in places}) == len(places)
    assert all(one["x"] + one["w"] <= 24 for one in places)


@needs_promtool
def test_prometheus_reads_every_expression_of_the_dashboards(tmp_path):
    panels = [one for name in DASHBOARDS for one in DASHBOARDS[name]]
    series = [expr for one in panels for expr, _ in one.series]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(series)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    code, said = promtool("check", "rules", path)
    assert code == 0, said


def test_every_metric_of_alerts_and_dashboards_is_one_that_a_process_shows():
    """Names as the sources write them: a metric that is renamed leaves no alert behind that never comes."""
    sources = ("runtime/metrics.py", "runtime/live.py", "app/worker.py", "market_data/collector_metrics.py")
    told = "".join((ROOT / "services" / one).read_text() for one in (*sources, "web/application.py"))
    exprs = [one.expr for one in RULES]
    exprs += [expr for panels in DASHBOARDS.values() for one in panels for expr, _ in one.series]
    named = {name for expr in exprs for name in re.findall(r"traderagent_\w+", expr)}
    for name in named:
        bare = re.sub(r"_(total|bucket)$", "", name)
        parts = [bare.removeprefix(one) for one in ("traderagent_collector_", "traderagent_jobs_", "traderagent_pair_")]
        parts += [bare, bare.removeprefix("traderagent_"), f"_{bare.removeprefix('traderagent_')}"]
        assert any(f'{one}"' in told or ('{name}"' in told and f'"{one}"' in told) for one in parts), name
