"""A bot with `runtime: ray` as its user starts and ends it: a strategy of one's own, and Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import yaml

from bot.sources import ROOT
from tests.runtime.processes import Processes, heard, minute

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow  # Ray itself takes its time
PAIRS, CAPITAL = ("BTCUSDT",), 10_000


def test_a_bot_on_ray_ends_in_order_when_it_is_told_to(tmp_path):
    """Its actors do not live on after their stop: what they remember is copied before."""
    processes = Processes(tmp_path)
    try:
        address = processes.venue(PAIRS, CAPITAL)
        own = {"strategy": str(ROOT / "tests/examples/ema_cross.py:EMA_CROSS"), "ema_cross": {"timeframe": "5m"}}
        config = Path(processes.config("onray", address, PAIRS, CAPITAL, **own))
        whole = yaml.safe_load(config.read_text())
        whole["bot"]["runtime"] = "ray"
        config.write_text(yaml.safe_dump(whole))
        running = processes.start("run", str(config))
        heard(running, '"running"')
        for _ in range(30):
            minute(address)
        running.send_signal(signal.SIGINT)
        assert running.wait(180) == 0
    finally:
        processes.end()
