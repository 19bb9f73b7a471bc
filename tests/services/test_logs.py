"""What a running bot prints: one JSON object a line, whoever said it, and never a secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import time
import warnings

import pytest
import structlog

from bot.errors import Misconfigured
from bot.sources import ROOT
from services.logs import Libraries, configure, passwords, relay
from services.messaging.embedded import EmbeddedRedis
from services.processes import lives
from tests.conftest import unreachable_bot

SECRET = "s3cret-0123456789"
LOOSE = "loose-9876543210"


@pytest.fixture
def stream():
    previous, out = structlog.get_config(), io.StringIO()
    configure([SECRET, LOOSE], stream=out, rarely=False)
    yield out
    structlog.configure(**previous)
    logging.getLogger().handlers = [one for one in logging.getLogger().handlers if not isinstance(one, Libraries)]


def told(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_what_libraries_log_is_a_line_of_ours(stream):
    try:
        {}["x"]
    except KeyError:
        logging.getLogger("some.library").exception("it %s\nbadly", "went")
    wrong = logging.LogRecord("some.library", logging.WARNING, "", 0, "%d of nothing", ("no number",), None)
    Libraries().emit(wrong)
    first, second = told(stream)
    assert (first["event"], first["library"], first["level"]) == ("it went\nbadly", "some.library", "error")
    assert "KeyError" in first["exception"]
    assert second["event"] == "%d of nothing"


def test_a_warning_of_python_is_a_line_of_ours(stream):
    warnings.simplefilter("always")
    warnings.warn("old\nthing", DeprecationWarning, stacklevel=1)
    (line,) = told(stream)
    assert (line["event"], line["category"]) == ("old\nthing", "DeprecationWarning")
    assert "test_logs.py" in line["place"]


def test_setting_it_up_twice_says_everything_once(stream):
    configure([SECRET], stream=stream, rarely=False)
    logging.getLogger("some.library").error("once")
    assert len(told(stream)) == 1


class Holder:
    def __init__(self, secret):
        self.secret = secret

    def __repr__(self):
        return f"Holder({self.secret})"

    __str__ = object.__str__


def test_secrets_reach_no_line_by_whatever_way(stream):
    log = structlog.get_logger()
    event = f"event {SECRET}"
    log.error(event)
    log.error("value", where={"deep": [1, (SECRET, {SECRET: 1})]}, **{SECRET: 1})
    log.error("object", one=Holder(SECRET), two=SECRET.encode(), three=ValueError(SECRET))
    logging.getLogger("library").error("%s and %s", SECRET[:9] + SECRET[9:], {"key": LOOSE})
    logging.getLogger("library").error("parts %s%s", SECRET[:5], SECRET[5:])
    warnings.simplefilter("always")
    warnings.warn(f"warned of {LOOSE}", stacklevel=1)
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError(LOOSE) from error
    except RuntimeError:
        log.exception("trace")
        logging.getLogger("library").exception("trace too")
    said = stream.getvalue()
    assert len(told(stream)) == 8
    assert SECRET not in said
    assert LOOSE not in said
    assert said.count("***") >= 10


def test_a_short_secret_leaves_the_line_readable(stream):
    configure(["1", '"'], stream=stream, rarely=False)
    structlog.get_logger().error('a "1"', count=21, share=0.5, lost=float("nan"))
    (line,) = told(stream)
    assert line["event"] == "a *********"
    assert line["count"] == "2***"
    assert (line["share"], line["lost"]) == (0.5, "nan")


def test_passwords_in_addresses_are_secrets():
    assert passwords("embedded", None, "none") == []
    assert passwords("postgresql://me:p%40ss@host/x", "redis://:other@host") == ["p%40ss", "p@ss", "other", "other"]
    assert "asked" in passwords("postgresql:///x?user=me&password=asked")


def test_what_an_actor_prints_is_passed_on_as_lines(stream, capsys):
    relay({"lines": ['{"event": "filled"}', f"a library: {SECRET}", ""], "actor_name": "Pairs", "pid": 7})
    relay({"lines": ["0B of 20 GiB memory"], "pid": "autoscaler"})
    assert capsys.readouterr().err == '{"event": "filled"}\n'
    (line,) = told(stream)
    assert (line["event"], line["actor"], line["process"]) == ("a library: ***", "Pairs", 7)


LAST_RESORT = """
import asyncio, sys, threading
from services.logs import catch_the_rest, configure

async def broken():
    raise ValueError("in a task: SECRET")

class Odd:
    def __del__(self):
        raise ValueError("where nobody can catch it: SECRET")

async def main():
    configure(["SECRET"], rarely=False)
    loop = asyncio.get_running_loop()
    catch_the_rest(loop)
    def fail():
        raise ValueError("in a callback: SECRET")
    loop.call_soon(fail)
    task = asyncio.create_task(broken())
    await asyncio.wait([task])
    del task
    Odd()
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    raise RuntimeError("at last: SECRET")

asyncio.run(main())
"""


def test_what_nobody_caught_is_one_line_each_with_its_trace():
    done = subprocess.run(
        [sys.executable, "-c", LAST_RESORT], cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    events = [one["event"] for one in lines]
    assert sorted(events) == ["died", "exception_unraisable", "task_failed", "task_failed", "thread_died"]
    assert all("Traceback" in one["exception"] or "Error" in one["exception"] for one in lines)
    assert done.returncode == 1
    assert "SECRET" not in done.stderr


def test_a_bot_that_cannot_start_prints_json_lines_and_one_sentence(tmp_path):
    """Its database and bus start, and the venue does not answer: everything on the way is a line of JSON."""
    path = unreachable_bot(tmp_path)
    environment = {**os.environ, "TRADERAGENT_KEY": SECRET, "TRADERAGENT_SECRET": LOOSE}
    environment.pop("XDG_RUNTIME_DIR", None)
    done = subprocess.run(
        [sys.executable, "-W", "always::RuntimeWarning", "-m", "bot", "run", str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    *lines, last = done.stderr.splitlines()
    assert done.returncode == 75, done.stderr
    assert last.startswith("error: ")
    events = {one["event"]: one for one in map(json.loads, lines)}
    assert {"database_started", "bus_started"} <= set(events)
    for event in ("database_started", "bus_started"):
        assert os.path.exists(events[event]["log"])  # noqa: PTH110, a text of the log
    assert done.stdout == ""


def test_a_bus_that_does_not_start_is_one_sentence_that_names_its_log(tmp_path, monkeypatch):
    numbers = []

    async def never(self):
        while not self.pid_file.exists() or not self.pid_file.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0)
        numbers.append(int(self.pid_file.read_text()))
        raise OSError

    monkeypatch.setattr(EmbeddedRedis, "_answers", never)
    redis = EmbeddedRedis(tmp_path)
    with pytest.raises(Misconfigured, match=r"redis\.log says why"):
        asyncio.run(redis.start())
    deadline = time.monotonic() + 10
    while lives(numbers[0]):
        assert time.monotonic() < deadline, "and nothing is left running"
