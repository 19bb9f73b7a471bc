"""Ctrl-C ends a command within a second at any moment: exit code 130, no trace, nothing half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from bot.sources import ROOT

LIMIT = 1.0  # seconds
SLACK = 2.0  # for a machine whose processors are all busy with other tests

BEGIN = "import sys\nfrom services.command_line.interrupt import watch, run_loop\n"
# As long as the compiler or a compiled loop, and as deaf.
DEAF = "__import__('hashlib').pbkdf2_hmac('sha256', b'', b'', 10**9)"
MOMENTS = {
    "in Python": f"{BEGIN}watch()\nprint('now', flush=True)\nwhile True: pass\n",
    "in a loop of C": f"{BEGIN}watch()\nprint('now', flush=True)\n{DEAF}\n",
    "where exceptions are swallowed": (
        f"{BEGIN}watch()\nclass Deaf:\n    def __del__(self):\n        print('now', flush=True)\n"
        "        while True: pass\nDeaf()\n"
    ),
    "in an event loop that is deaf": (
        f"{BEGIN}import atexit\natexit.register(print, 'cleaned', flush=True)\nasync def deaf():\n"
        f"    print('now', flush=True)\n    {DEAF}\nwatch()\nrun_loop(deaf())\n"
    ),
    "in an event loop that hears and goes deaf": (
        f"{BEGIN}import atexit, time\natexit.register(print, 'cleaned', flush=True)\nasync def deaf():\n"
        "    until = time.monotonic() + 0.3\n    print('now', flush=True)\n"
        f"    while time.monotonic() < until: pass\n    {DEAF}\nwatch()\nrun_loop(deaf())\n"
    ),
}


def interrupted(process, ready):
    """Wait until a process says that it is `ready`, interrupt it, and return what it said, its code and the seconds."""
    said = []
    while not any(ready in line for line in said):
        line = process.stdout.readline()
        assert line, "".join(said)
        said.append(line)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    return "".join(said) + rest, process.returncode, time.monotonic() - began


def started(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_ctrl_c_is_heard_at_once(moment):
    said, code, seconds = interrupted(started("-c", MOMENTS[moment]), "now")
    assert code == 130, said
    assert seconds < LIMIT + SLACK
    assert "interrupted" in said
    assert "Traceback" not in said
    assert "cleaned" in said or "deaf" not in moment


def test_ctrl_c_cancels_an_event_loop_which_has_its_time_to_end():
    code = (
        f"{BEGIN}import asyncio\nasync def work():\n    print('now', flush=True)\n    try:\n"
        "        await asyncio.sleep(600)\n    finally:\n        await asyncio.sleep(1)\n        print('ended well')\n"
        "watch()\ntry:\n    run_loop(work())\nexcept KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    said, code, _ = interrupted(started("-c", code), "now")
    assert (said.splitlines(), code) == (["now", "ended well"], 130)


def test_ctrl_c_while_a_strategy_is_compiled_leaves_nothing(tmp_path):
    from backtesting.candles import to_frame
    from tests.conftest import walk

    to_frame(walk(3_000)).write_csv(tmp_path / "BTCUSDT.csv")
    options = ("--strategy", "grid", "--pair", "BTCUSDT", "--candles", str(tmp_path / "BTCUSDT.csv"))
    process = started(
        *("-m", "bot", "backtest", *options, "--out", str(tmp_path / "run")),
        TRADERAGENT_CACHE_DIR=str(tmp_path / "kernels"),
        TRADERAGENT_DATA_DIR=str(tmp_path / "data"),
    )
    said, code, seconds = interrupted(process, "compiling")
    assert code == 130, said
    assert seconds < LIMIT + SLACK
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["BTCUSDT.csv", "kernels"]
    assert not list((tmp_path / "kernels").rglob("*.nbc"))
    assert not list((tmp_path / "kernels").rglob("*.part"))


def test_ctrl_c_while_a_run_is_written_leaves_the_one_before(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text("before")
    code = (
        f"{BEGIN}watch()\nfrom pathlib import Path\nfrom backtesting.reports.run_directory import write_whole\n"
        "def write(partial):\n    (partial / 'result.json').write_text('half')\n    print('now', flush=True)\n"
        "    while True: pass\n"
        f"write_whole(Path({str(tmp_path / 'run')!r}), write)\n"
    )
    _, code, _ = interrupted(started("-c", code), "now")
    assert code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "result.json").read_text() == "before"
