"""Alert rules: each is raised by exactly one fault, none without it, as Prometheus' own tool evaluates them."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from bot.sources import ROOT
from coordinator.vocabulary import HeldOff
from services.alert_conditions import BY_ID, CONDITIONS, Observer
from services.alert_rules import FILE, PAGE, RULES, page, rules_file
from services.dashboards import DASHBOARDS, FOLDER, dashboard, dashboard_file
from services.runtime.key_check import NEW_KEY
from services.watchdog.conditions import BotTrouble

# What Prometheus sees while all is well, a value a minute, and what one fault makes of it.
WELL = {
    'up{job="traderagent-bot", instance="b"}': "1x60",
    'up{job="traderagent-console", instance="c"}': "1x60",
    'up{job="traderagent-worker", instance="w"}': "1x60",
    'up{job="traderagent-collector", instance="m"}': "1x60",
    'probe_success{job="traderagent-blackbox", instance="http://127.0.0.1:8800/health"}': "1x60",
    "traderagent_stream_age_seconds": "1x60",
    'traderagent_pair_reconciled_seconds{pair="BTCUSDT"}': "30x60",
    'traderagent_trouble{id="key_expiry"}': "0x60",
    'traderagent_trouble{id="key_rights"}': "0x60",
    'traderagent_trouble{id="drift"}': "0x60",
    'traderagent_mode{mode="halt"}': "0x60",
    'traderagent_mode{mode="drawdown"}': "0x60",
    'traderagent_pair_held_off{pair="BTCUSDT", reason="operator"}': "1x60",
    'traderagent_pair_held_off{pair="BTCUSDT", reason="silence"}': "1x60",
    'traderagent_pair_held_off{pair="BTCUSDT", reason="position"}': "0x60",
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
    "PairHeldOff": {'traderagent_pair_held_off{pair="BTCUSDT", reason="position"}': "1x60"},
    "Unreachable": {'probe_success{job="traderagent-blackbox", instance="http://127.0.0.1:8800/health"}': "0x60"},
    "PairUnreconciled": {'traderagent_pair_reconciled_seconds{pair="BTCUSDT"}': "30+10x60"},
    "KeyExpires": {'traderagent_trouble{id="key_expiry"}': "1x60"},
    "KeyMayTooMuch": {'traderagent_trouble{id="key_rights"}': "1x60"},
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


@pytest.mark.parametrize(("file", "told"), [(FILE, rules_file), (PAGE, page)])
def test_the_files_are_what_the_table_says(file, told):
    assert (ROOT / file).read_text() == told(), "run `python -m services.alert_rules`"


def test_the_table_has_each_condition_once_and_whole():
    assert len({one.name for one in CONDITIONS}) == len(BY_ID) == len(CONDITIONS)
    assert set(FAULTS) == {one.name for one in RULES}
    assert all(one.sentence for one in RULES)
    assert all(one.meaning and one.remedy and (one.measure or one.seen_by) for one in CONDITIONS)
    assert all(bool(one.measure) == bool(one.limit) for one in CONDITIONS)


def test_each_observer_says_what_the_table_names_it_for_and_nothing_else():
    """Faults that fire each: test_watchdog, test_watched_bot, test_key_care, test_drift, test_telegram_catalogue."""
    said = {one: {each.id for each in CONDITIONS if one in each.seen_by} for one in Observer}
    assert said[Observer.WATCHDOG] == {one.value for one in BotTrouble}
    assert said[Observer.PROBE] == {one.id for one in CONDITIONS if one.service}
    assert said[Observer.TELEGRAM] == {"silent", "halted", "unprotected"}
    alarms = {
        "store_away",
        "unexplained_money",
        "key_expiry",
        "key_rights",
        "drift",
        HeldOff.SILENCE.name.lower(),
        "held_off",
    }
    assert said[Observer.BOT] == alarms


def test_what_a_bot_says_has_the_remedy_of_the_table():
    source = (ROOT / "coordinator" / "portfolio_core.py").read_text()
    assert f'"{BY_ID["unexplained_money"].remedy}"' in source
    assert BY_ID["key_expiry"].remedy == NEW_KEY


@needs_promtool
def test_prometheus_takes_config_and_rules():
    for what, name in (("rules", "alerts.yaml"), ("config", "prometheus.yml")):
        code, said = promtool("check", what, ROOT / "deploy" / "prometheus" / name)
        assert code == 0, said


BLACKBOX = shutil.which("prometheus-blackbox-exporter") or shutil.which("blackbox_exporter")
needs_blackbox = pytest.mark.skipif(BLACKBOX is None, reason="Prometheus' blackbox exporter is not installed")


@contextmanager
def blackbox():
    """The exporter with the config of `deploy`; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = ROOT / "deploy" / "prometheus" / "blackbox.yml"
    process = subprocess.Popen(
        [BLACKBOX, f"--config.file={config}", f"--web.listen-address={address}"], stderr=subprocess.DEVNULL
    )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(10)


def asked(address, target, module):
    """Ask the exporter about a target, as Prometheus does; whether it says that it is reached."""
    query = urlencode({"target": target, "module": module})
    until = time.monotonic() + 20
    while True:
        try:
            with urlopen(f"http://{address}/probe?{query}", timeout=10) as answer:
                return "probe_success 1" in answer.read().decode().splitlines()
        except URLError:  # it has not begun to listen
            assert time.monotonic() < until
            time.sleep(0.05)


class Health(BaseHTTPRequestHandler):
    """A service that is well while `answer` is 200."""

    answer = 200

    def do_GET(self):
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_):
        pass


@needs_blackbox
def test_the_blackbox_exporter_says_whether_a_service_is_reached():
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (job,) = (one for one in scraped if one["job_name"] == "traderagent-blackbox")
    assert 'job="traderagent-blackbox"' in BY_ID["unreachable"].expr
    (module,) = job["params"]["module"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as served, blackbox() as address:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        target = f"http://127.0.0.1:{served.server_port}/health"
        assert asked(address, target, module)
        served.RequestHandlerClass = type("Sick", (Health,), {"answer": 500})
        assert not asked(address, target, module)
        served.shutdown()
        served.server_close()
        assert not asked(address, target, module)


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
