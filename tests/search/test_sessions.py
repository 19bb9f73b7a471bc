"""Sessions in a real Postgres: what is stored is not played again, and a search that is killed goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from backtesting.candles import to_frame
from bot.errors import Misconfigured
from bot.sources import ROOT
from coordinator.config import load_config
from search.exploration import StoredRows
from search.reading import read_space
from search.runners import Threads
from search.session import session_of
from search.sweep import sweep
from search.window import market_of
from services.app.backtest import market_for
from services.app.search import run_search, trial_store
from services.market_data.store import CandleStore
from tests.conftest import walk
from tests.services.test_backup import another_database

CANDLES = walk(60 * 1440, seed=3, volatility=0.0007)
SPACE = {
    "strategy": "grid",
    "pair": "BTCUSDT",
    "exchange": "synth",
    "grid": {
        "levels": {"from": 6, "to": 20, "step": 1},
        "profit_per_grid": ["0.4%", "0.8%", "1.2%", "2%"],
        "warmup_bars": 30,
    },
    "search": {"top": 3},
}


class Counted(Threads):
    """Threads that count what they play."""

    def __init__(self):
        super().__init__(2)
        self.numbers = []

    def submit(self, window, numbers):
        self.numbers += numbers.tolist()
        return super().submit(window, numbers)


def searched(data_dir, space, *, candles=CANDLES, after=None):
    """Run a sweep with its rows kept; returns what it found and what it played. `after`: batches until it is ended."""
    made = read_space(space)
    market = market_of(made.first, candles, None, None)
    session = session_of("sweep", made, market)
    played = []

    def search(trials, told):
        with Counted() as runner:
            try:
                return sweep(made, candles, runner=runner, trials=trials, progress=told)
            finally:
                played.extend(runner.numbers)

    heard = []

    def told(progress):
        heard.append(progress)
        if after is not None and len(heard) >= after:
            raise KeyboardInterrupt

    found = None
    try:
        found = asyncio.run(run_search(data_dir, session, search, told, lambda one: {"verdict": one.verdict}))
    except KeyboardInterrupt:
        assert after is not None
    return session, found, played


def listed(data_dir):
    async def read():
        async with trial_store(data_dir) as store:
            return await store.sessions()

    return asyncio.run(read())


@pytest.fixture
def whole():
    return sweep(SPACE, CANDLES, workers=2)


def test_a_search_that_was_ended_goes_on_and_comes_to_the_same(tmp_path, whole):
    """F-51: what is stored is found again by candles, config and code together."""
    session, found, first = searched(tmp_path, SPACE, after=1)
    assert found is None and len(first) > 0
    again, found, second = searched(tmp_path, SPACE)
    assert again == session
    assert found.frame.equals(whole.frame)
    kept = 60 - len([one for one in set(second) if second.count(one) >= 1])
    assert kept > 0, "what was kept was played again"
    assert found.evidence == whole.evidence
    _, found, third = searched(tmp_path, SPACE)
    best = set(found.numbers[:3].tolist())
    assert set(third) <= best and found.frame.equals(whole.frame)
    (one,) = listed(tmp_path)
    assert (one.session, one.status, one.trials) == (session.name, "finished", 60)
    assert one.result["verdict"] == found.verdict
    assert one.document["grid"]["levels"] == {"from": 6, "to": 20, "step": 1}


def test_a_second_stage_goes_on_from_the_shortlist_that_is_stored(tmp_path):
    axes = {"levels": {"from": 6, "to": 15, "step": 1}, "stop_loss": ["4%", "6%", "8%"], "warmup_bars": 30}
    staged = {**SPACE, "grid": axes, "search": {"top": 1, "method": "staged", "preselect": 4}}
    risk = 3
    _, found, first = searched(tmp_path / "a", staged, after=2)  # the first stage is one batch, the second another
    assert found is None and {one % risk for one in first[:10]} == {0} and len(first) > 10
    _, resumed, second = searched(tmp_path / "a", staged)
    _, whole, _ = searched(tmp_path / "b", staged)
    assert resumed.frame.equals(whole.frame)
    assert not [one for one in second if one % risk == 0 and second.count(one) == 1 and one not in best_of(resumed)]
    assert {one for one in first if one % risk} <= set(resumed.numbers.tolist()), "the shortlist is the same"


def best_of(found):
    """Variants that are played again for the days held out."""
    return set(found.numbers[: len(found.held_out)].tolist())


def test_another_question_is_another_session_and_looks_at_the_same_candles_count(tmp_path):
    """F-51."""
    first, found, _ = searched(tmp_path, SPACE)
    other = {**SPACE, "search": {"method": "random:20", "top": 3}}
    second, drawn, played = searched(tmp_path, other)
    assert second.name != first.name and len(set(played)) == 20
    assert drawn.evidence.trials == 20 + 60 and found.evidence.trials == 60
    third, moved, _ = searched(tmp_path, other, candles=walk(60 * 1440, seed=4, volatility=0.0007))
    assert third.name != second.name and moved.evidence.trials == 20
    limits = {**SPACE, "search": {"top": 5, "limits": {"variants": 100}}}
    assert searched(tmp_path, limits)[0] == first, "what changes no row is the same session"


def test_a_search_that_is_refused_says_so(tmp_path):
    narrow = {**SPACE, "search": {"held_out": 0.6}}  # 24 days choose, of which no ratio can be said
    with pytest.raises(Misconfigured, match="undefined for every variant"):
        searched(tmp_path, narrow)
    (one,) = listed(tmp_path)
    assert one.status == "failed" and "undefined for every variant" in one.result["verdict"][0]


def test_rows_come_back_as_they_were_kept(tmp_path, whole):
    session = session_of("sweep", whole.space, market_of(whole.space.first, CANDLES, None, None))
    rows = StoredRows(whole.found.numbers, whole.found.scores, whole.found.blocks, b"\1\2")

    async def kept():
        async with trial_store(tmp_path) as store:
            await store.begin(session)
            async with store.held(session.name):
                await store.add(session.name, 4, rows)
            back = await store.stored(session.name, 4)
            nothing = await store.stored(session.name, 5)
            snapshots = (session.snapshot, f"another-{session.snapshot}", "another")
            looked = [await store.looked(one, "of another") for one in snapshots]
            looked.append(await store.looked(session.snapshot, session.name))
            await store.purge([session.name])
            return back, nothing, looked, await store.sessions()

    back, nothing, looked, left = asyncio.run(kept())
    assert looked == [60, 60, 0, 0], "a search over several pairs looks at the candles of each"
    assert (back.numbers == rows.numbers).all() and back.looks == b"\1\2"
    assert back.scores.tobytes() == np.asarray(rows.scores).tobytes() and (back.blocks == rows.blocks).all()
    assert len(nothing.numbers) == 0 and left == []


def command(data_dir, *arguments, start=False):
    line = [sys.executable, "-m", "bot", *map(str, arguments)]
    how = {"cwd": ROOT, "env": {**os.environ, "COLUMNS": "200", "TRADERAGENT_DATA_DIR": str(data_dir)}, "text": True}
    if start:
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    done = subprocess.run(line, capture_output=True, check=False, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trials(data_dir):
    found = json.loads(command(data_dir, "sessions", "list", "--json"))
    return found[0]["trials"] if found else 0


@pytest.mark.slow  # processes that are killed, and a search of some length
@pytest.mark.parametrize("how", [("--workers", 1), ("--ray", "local")], ids=["threads", "ray"])
def test_a_search_that_is_killed_goes_on_and_writes_the_same_rows(tmp_path, how):
    candles, space = tmp_path / "candles.parquet", tmp_path / "space.yaml"
    to_frame(walk(300 * 1440, seed=3, volatility=0.0007)).write_parquet(candles)
    wide = {"levels": {"from": 5, "to": 40, "step": 1}, "profit_per_grid": {"from": "0.3%", "to": "2%", "steps": 40}}
    space.write_text(yaml.safe_dump({**SPACE, "grid": {**wide, "warmup_bars": 30}}))
    data, other = tmp_path / "data", tmp_path / "other"
    asked = ("sweep", space, "--candles", candles, "--out")
    running = command(data, *asked, tmp_path / "a", *how, start=True)
    deadline = time.monotonic() + 300
    while running.poll() is None and trials(data) < 200 and time.monotonic() < deadline:
        pass
    assert running.poll() is None, "it came to its end before it was killed"
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = trials(data)
    assert 200 <= before < 36 * 40
    command(data, *asked, tmp_path / "a", *how)
    command(other, *asked, tmp_path / "b")
    assert trials(data) == 36 * 40
    assert (tmp_path / "a" / "rows.csv").read_bytes() == (tmp_path / "b" / "rows.csv").read_bytes()
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()


@pytest.mark.slow  # several processes
def test_the_commands_of_sessions(tmp_path):
    candles, space, data = tmp_path / "candles.parquet", tmp_path / "space.yaml", tmp_path / "data"
    to_frame(CANDLES).write_parquet(candles)
    space.write_text(yaml.safe_dump({**SPACE, "search": {"method": "random:10", "top": 3}}))
    command(data, "sweep", space, "--candles", candles, "--out", tmp_path / "out")
    (one,) = json.loads(command(data, "sessions", "list", "--json"))
    assert one["trials"] == 10 and one["status"] == "finished"
    name = one["session"][:6]
    assert "random:10" in command(data, "sessions", "show", name)
    command(data, "sessions", "best", name, "--out", tmp_path / "best.yaml")
    assert (tmp_path / "best.yaml").read_text() == (tmp_path / "out" / "best.yaml").read_text()
    other = tmp_path / "other.yaml"
    rows = (tmp_path / "out" / "rows.csv").read_text().splitlines()
    command(data, "sessions", "best", name, "--variant", rows[2].partition(",")[0], "--out", other)
    assert other.read_text().startswith("# Variant") and load_config(other).parameters is not None
    command(data, "sessions", "rerun", name, "--candles", candles, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "rows.csv").read_text().splitlines()[:4] == rows[:4]
    assert len(json.loads(command(data, "sessions", "list", "--json"))) == 1, "nothing has changed: the same session"
    assert "would forget 1" in command(data, "sessions", "purge", name)
    assert "would forget 0" in command(data, "sessions", "purge", "--older", 1)
    assert "would forget 0" in command(data, "sessions", "purge", "--keep-trials", 10)
    assert "would forget 1" in command(data, "sessions", "purge", "--keep-trials", 9)
    assert trials(data) == 10
    command(data, "sessions", "purge", name, "--yes")
    assert json.loads(command(data, "sessions", "list", "--json")) == []


@pytest.mark.slow  # several processes
def test_searches_and_their_sessions_are_in_the_database_that_is_named_from_any_folder(dsn, tmp_path, monkeypatch):
    address = asyncio.run(another_database(dsn, "named_by_address"))
    candles, space = tmp_path / "candles.parquet", tmp_path / "space.yaml"
    to_frame(CANDLES).write_parquet(candles)
    space.write_text(yaml.safe_dump({**SPACE, "search": {"method": "random:5", "top": 3}}))
    asked = ("sweep", space, "--candles", candles, "--database", address)
    command(tmp_path / "one", *asked, "--out", tmp_path / "out")
    assert not (tmp_path / "one" / "shared").exists(), "it has started a database of its own"
    secret = tmp_path / "address"
    secret.write_text(address)
    monkeypatch.setenv("TRADERAGENT_DATABASE_FILE", str(secret))
    other = tmp_path / "other"
    (one,) = json.loads(command(other, "sessions", "list", "--json"))
    assert one["trials"] == 5
    command(other, "sessions", "best", one["session"], "--out", tmp_path / "best.yaml")
    assert (tmp_path / "best.yaml").read_text() == (tmp_path / "out" / "best.yaml").read_text()
    assert "no strategy" in command(other, "strategies", "list")
    command(other, "sessions", "purge", one["session"], "--yes")
    assert json.loads(command(other, "sessions", "list", "--json")) == []
    assert not (other / "shared").exists()


@pytest.mark.slow  # several processes
def test_a_walk_forward_writes_what_would_trade_next(tmp_path):
    candles, space, data = tmp_path / "candles.parquet", tmp_path / "space.yaml", tmp_path / "data"
    to_frame(CANDLES).write_parquet(candles)
    windows = {"walk_forward": {"train_days": 35, "test_days": 10, "embargo_days": 0}}
    space.write_text(yaml.safe_dump({**SPACE, "search": {**windows, "method": "random:6"}}))
    told = command(data, "walkforward", space, "--candles", candles, "--out", tmp_path / "out")
    written = (tmp_path / "out" / "next.yaml").read_text()
    assert "next.yaml" in told and written.startswith("# The best of 6 variants by random:6 and information_ratio")
    assert "for the 10 days from then on" in written and "out of sample" in written
    result = command(data, "backtest", tmp_path / "out" / "next.yaml", "--candles", candles, "--out", tmp_path / "run")
    assert result
    (one,) = json.loads(command(data, "sessions", "list", "--json"))
    command(data, "sessions", "best", one["session"], "--out", tmp_path / "best.yaml")
    assert (tmp_path / "best.yaml").read_text() == written


def test_a_search_sees_all_candles_that_any_of_its_variants_looks_back_on(tmp_path):
    CandleStore(tmp_path).write("bybit", "linear", "BTCUSDT", CANDLES)
    plain = {"strategy": "grid", "pair": "BTCUSDT", "exchange": "bybit", "from": "2024-02-10"}
    found = market_for(load_config(plain), None, tmp_path)
    assert len(found.candles["BTCUSDT"]) == len(CANDLES)
