"""SIGKILL and SIGSTOP, at random moments, of a bot in its own process, while the market runs and the venue misbehaves.

TRADERAGENT_CHAOS_KILLS and TRADERAGENT_CHAOS_SEED choose more, or repeat a run; TRADERAGENT_CHAOS_REPORT names a
Markdown file for the certificate.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml

from services.command_line.chaos import played
from services.trials.chaos import ChaosPlan, Findings
from services.trials.chaos_plan import LEAST_FREEZE, MOST_FREEZE, LifeEnd, lives
from services.trials.chaos_report import certificate, markdown
from tests.conftest import ROOT
from tests.runtime.processes import COMMAND

SEED = int(os.environ.get("TRADERAGENT_CHAOS_SEED", "1"))


def run(path, kills, speed=2400.0):
    """Play a run; a failure shows the certificate."""
    found = played(path, ChaosPlan(int(os.environ.get("TRADERAGENT_CHAOS_KILLS", kills)), SEED, speed), None)
    report = os.environ.get("TRADERAGENT_CHAOS_REPORT")
    if report:
        Path(report).write_text(markdown(found, None), encoding="utf-8")
    assert found.fills >= 10, "the market has to be livelier for this test to mean anything"
    assert found.passed, certificate(found)
    assert found.minutes["dead"] + found.minutes["frozen"] > 0


@pytest.fixture
def bot_yaml(tmp_path):
    path = tmp_path / "bot.yaml"
    lively = {"strategy": "auto", "auto": {"preset": "classic"}, "pairs": ["BTCUSDT", "ETHUSDT", "SOLUSDT"]}
    path.write_text(yaml.safe_dump(lively))
    return path


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_nothing_and_doubles_nothing(bot_yaml):
    run(bot_yaml, 100)


@pytest.mark.long
def test_two_thousand_kills_lose_nothing_and_double_nothing(bot_yaml):
    run(bot_yaml, 2000)


def started(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, "chaos", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **options},
    )


def of_run(folder):
    """Processes that work in this folder."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])]


@pytest.mark.slow
def test_the_command_certifies_and_leaves_nothing_behind(bot_yaml, tmp_path):
    report = tmp_path / "chaos.md"
    process = started(bot_yaml, "--kills", 3, "--report", report, TMPDIR=str(tmp_path))
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert out.splitlines()[-1] == "0 doubled, 0 lost, 0 bare"
    assert "0 doubled, 0 lost, 0 bare" in report.read_text()
    assert not list(tmp_path.glob("chaos-*"))
    assert not of_run(tmp_path)


@pytest.mark.slow
def test_ctrl_c_ends_it_within_a_second_and_leaves_nothing_behind(bot_yaml, tmp_path):
    log = tmp_path / "log"
    process = started(bot_yaml, "--kills", 50, "--log", log, TMPDIR=str(tmp_path))
    while not (log.exists() and '"running"' in log.read_text()):
        assert process.poll() is None, process.stderr.read()
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    took = time.monotonic() - begun
    assert process.returncode == 130
    assert not list(tmp_path.glob("chaos-*"))
    assert not of_run(tmp_path)
    assert took < 1.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere.yaml",), "does not exist"),
        (("{config}", "--speed", "0"), "speed is 0"),
        (("{config}", "--report", "{folder}/no/chaos.md"), "cannot be written"),
        (("{spot}",), "market is spot"),
        (("{config}", "--exchange", "nobody"), "nobody"),
    ],
)
def test_bad_input_is_one_sentence(bot_yaml, tmp_path, arguments, sentence):
    spot = tmp_path / "spot.yaml"
    bot = {"environment": "venue", "address": "http://127.0.0.1:1"}
    spot.write_text(yaml.safe_dump({**yaml.safe_load(bot_yaml.read_text()), "market": "spot", "bot": bot}))
    named = {"config": bot_yaml, "folder": tmp_path, "spot": spot}
    process = started(*(one.format(**named) for one in arguments), TRADERAGENT_DATA_DIR=str(tmp_path))
    out, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.startswith("error: ")
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert not out


def test_the_same_seed_plans_the_same_lives():
    assert lives(50, 3) == lives(50, 3)
    assert lives(50, 3) != lives(50, 4)


def test_a_plan_has_as_many_kills_as_are_asked_for_and_every_kind_of_end():
    planned = lives(200, 1)
    assert sum(one.end is not LifeEnd.STOPPED for one in planned) == 200
    assert {one.end for one in planned} == set(LifeEnd)
    frozen = [one.freeze for one in planned if one.freeze]
    assert len(frozen) >= 20
    assert all(LEAST_FREEZE <= one <= MOST_FREEZE for one in frozen)
    assert {"malformed", "silent_executions", "hold"} <= {name for one in planned for name in one.faults}


@pytest.mark.parametrize(
    ("doubled", "lost", "bare", "last"),
    [
        ([], [], 0, "0 doubled, 0 lost, 0 bare"),
        (["order a"], [], 0, "1 doubled, 0 lost, 0 bare"),
        ([], ["execution b", "execution c"], 4, "0 doubled, 2 lost, 4 bare"),
    ],
)
def test_the_last_line_has_the_numbers(doubled, lost, bare, last):
    found = Findings(ChaosPlan(1, 1, 60.0), "abc", ("BTCUSDT",), 0.7, bare=bare)
    found.agreement.doubled, found.agreement.lost = doubled, lost
    assert certificate(found).splitlines()[-1] == last
    assert found.passed == (last == "0 doubled, 0 lost, 0 bare")


def test_what_differs_fails_a_run_though_nothing_is_lost():
    found = Findings(ChaosPlan(1, 1, 60.0), "abc", ("BTCUSDT",), 0.7)
    found.agreement.differences.append("BTCUSDT: another position")
    assert not found.passed
    assert "BTCUSDT: another position" in certificate(found)
    above = Findings(ChaosPlan(1, 1, 60.0), "abc", ("BTCUSDT",), 0.7, peak=0.8)
    assert not above.passed
