"""`traderagent strategies`: tests and runs of strategies; what was tested starts live, what was not is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json

import asyncpg
import pytest
import structlog
import yaml

from backtesting.candles import to_frame
from bot.errors import Misconfigured
from coordinator.config import load_config
from coordinator.run_state import RunEvent, RunState
from coordinator.saved_strategy import saved_strategy, strategy_of
from services.app.accepted import accept
from services.app.bot import refuse_untested
from services.command_line.tested import keep_test
from services.runtime.config import load_bot
from services.storage.instance_lock import InstanceLock
from services.storage.strategies import RunRecorder, StrategyStore
from services.storage.tested_runs import finished_tests, folder_of_tests, untested_pairs
from tests.search.test_pair_classes import hours
from tests.services.test_batch import command

GRID = {"strategy": "grid", "pair": "BTCUSDT", "exchange": "binance", "grid": {"warmup_bars": 20}}


@pytest.fixture
def written(tmp_path, store_dir):
    """A bot's config, and a file of candles."""
    to_frame(hours(60, 0.006)).write_csv(tmp_path / "BTCUSDT-1h.csv")

    def write(name="main", environment="live", **changes):
        path = tmp_path / "bot.yaml"
        bot = {"name": name, "environment": environment, "data_dir": str(store_dir)}
        values = {**GRID, **changes, "bot": bot}
        if "pairs" in values:
            del values["pair"]
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def run(monkeypatch, capsys, *words, code=0):
    found, out, err = command(monkeypatch, capsys, "strategies", *words)
    assert found == code, err
    return out if code == 0 else err


@pytest.mark.slow  # a whole backtest
def test_a_strategy_goes_from_draft_to_tested_and_is_cloned_and_deleted(written, tmp_path, monkeypatch, capsys):
    path = written()
    name = run(monkeypatch, capsys, "save", path).strip()
    assert name == strategy_of(path).name
    assert run(monkeypatch, capsys, "save", path).strip() == f"{name} is saved already"
    (row,) = json.loads(run(monkeypatch, capsys, "list", "--json"))
    assert (row["name"], row["status"], row["tests"], row["runs"]) == (name, "draft", [], [])

    other = run(monkeypatch, capsys, "clone", name[:9], "--set", "levels=7").strip()
    assert other != name
    done = command(
        *(monkeypatch, capsys, "backtest", path, "--candles", tmp_path / "BTCUSDT-1h.csv", "--out", tmp_path / "run"),
    )
    assert done[0] == 0, done[2]
    rows = {row["name"]: row for row in json.loads(run(monkeypatch, capsys, "list", "--json"))}
    assert {name: row["status"] for name, row in rows.items()} == {name: "tested", other: "draft"}
    assert rows[other]["cloned_from"] == name
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (test,) = rows[name]["tests"]
    assert (test["kind"], test["id"], test["pairs"]) == ("backtest", result["run_id"], ["BTCUSDT"])
    assert test["figures"]["total_return_pct"] == pytest.approx(result["metrics"]["total_return_pct"])

    shown = run(monkeypatch, capsys, "show", name)
    assert f"# backtest {result['run_id']} on BTCUSDT" in shown
    (tmp_path / "shown.yaml").write_text(shown + "pair: ETHUSDT\n")
    assert saved_strategy(load_config(tmp_path / "shown.yaml")) == strategy_of(path)

    assert "give --yes to do it" in run(monkeypatch, capsys, "delete", other)
    assert "forgot" in run(monkeypatch, capsys, "delete", other, "--yes")
    assert "no saved strategy's name begins with" in run(monkeypatch, capsys, "show", other, code=2)
    assert "the names" not in run(monkeypatch, capsys, "show", "grid", "--json")


def asked(dsn, path):
    """Ask whether the bot of a config may start."""
    settings, config = load_bot(path)
    asyncio.run(refuse_untested(settings, config, dsn))


@pytest.fixture
def tables(dsn):
    async def migrated():
        await (await StrategyStore.open(dsn)).close()

    asyncio.run(migrated())
    return dsn


def test_only_what_was_tested_on_its_pairs_starts_live(written, tables, name, store_dir):
    path = written(name=name)
    with pytest.raises(
        Misconfigured, match=r"strategy grid-1h-\w{6} has no finished backtest on BTCUSDT; .*--untested"
    ):
        asked(tables, path)
    keep_test(store_dir, load_config(path), ("backtest", "a1"), ("2024-01-01", "2024-02-01"), {})
    asked(tables, path)
    with pytest.raises(Misconfigured, match=r"on BTCUSDT;"):
        asked(tables, written(name=name, grid={"warmup_bars": 20, "levels": 9}))
    both = written(name=name, pairs=["BTCUSDT", "ETHUSDT"])
    with pytest.raises(Misconfigured, match=r"has no finished backtest on ETHUSDT;"):
        asked(tables, both)
    accept(*load_bot(both))
    asked(tables, both)
    kinds = [one.kind for one in finished_tests(store_dir, saved_strategy(load_config(path)).content)]
    assert kinds == ["accepted", "backtest"]


def test_a_bot_that_goes_on_with_what_it_traded_live_is_not_asked(written, tables, name):
    path = written(name=name)
    content = saved_strategy(load_config(path)).content
    for environment, live_before in (("demo", False), ("live", True)):
        played(tables, name, content=content, environment=environment)
        if live_before:
            asked(tables, path)
        else:
            with pytest.raises(Misconfigured, match="has no finished backtest"):
                asked(tables, path)
    with pytest.raises(Misconfigured, match="has no finished backtest"):
        asked(tables, written(name=name, grid={"warmup_bars": 20, "levels": 9}))


def test_the_command_refuses_before_anything_is_sent(written, monkeypatch, capsys):
    for key in ("KEY", "SECRET"):
        monkeypatch.setenv(f"TRADERAGENT_{key}", "x" * 20)
    before = structlog.get_config()
    try:
        code, _, err = command(monkeypatch, capsys, "run", written())
    finally:
        structlog.configure(**before)
    assert code == 2 and "has no finished backtest on BTCUSDT" in err


@pytest.mark.parametrize("environment", ["demo", "testnet"])
def test_a_simulated_or_demo_account_is_never_asked(written, environment):
    path = written(environment=environment)
    asked("postgresql://nobody@127.0.0.1:1/none", path)
    settings, config = load_bot(path)
    accept(settings, config)
    assert not folder_of_tests(settings.data_dir, saved_strategy(config).content).exists()


def test_generated_candles_test_nothing_and_a_damaged_file_is_no_test(store_dir):
    config = load_config({**GRID, "exchange": "synth"})
    own = saved_strategy(config).content
    keep_test(store_dir, config, ("backtest", "a1"), ("", ""), {})
    assert finished_tests(store_dir, own) == []
    folder = folder_of_tests(store_dir, own)
    folder.mkdir(parents=True)
    for name, text in {"a": "{", "b": "[1]", "c": '{"pairs": 3}', "d": '{"kind": "x", "pairs": ["BTCUSDT"]}'}.items():
        (folder / f"{name}.json").write_text(text)
    assert untested_pairs(store_dir, own, ["BTCUSDT"]) == ["BTCUSDT"]


def test_the_same_content_is_saved_once_and_a_name_is_never_that_of_another(dsn):
    async def main():
        store = await StrategyStore.open(dsn)
        try:
            one = strategy_of(GRID)
            first, again = await store.save(one), await store.save(one, "other")
            twin = type(one)(one.content[:6] + "0" * 10, one.strategy, one.timeframe, one.document)
            second = await store.save(twin)
            await store.delete(one.content)
            await store.delete(twin.content)
            return one, first, again, twin, second, await store.strategies()
        finally:
            await store.close()

    one, first, again, twin, second, left = asyncio.run(main())
    assert (first[1], again[1]) == (True, False)
    assert first[0] == again[0] and first[0].cloned_from is None
    assert (first[0].name, second[0].name) == (one.name, twin.long_name)
    assert one.content not in {row.content for row in left}


def played(dsn, name, *events, error=None, content="c0ffee", environment="live"):
    """Record a run of these events, its lock held; returns the runs while it lives and after it."""

    async def main():
        store = await StrategyStore.open(dsn)
        seen = []
        with contextlib.suppress(Misconfigured):
            recording = RunRecorder.recording(dsn, name, content, environment)
            async with InstanceLock.held(dsn, name), recording as recorder:
                for event in events:
                    recorder.tell(event)
                    await recorder._told.join()
                    seen += [one.state for one in await store.runs() if one.bot == name]
                if error is not None:
                    raise error
        ended = [one for one in await store.runs() if one.bot == name]
        await store.close()
        return seen, ended[0]

    return asyncio.run(main())


def test_a_run_is_recorded_from_its_start_to_its_end_and_again(dsn, name):
    way = (RunEvent.JOINED, RunEvent.READY, RunEvent.STOP)
    for _ in range(2):
        seen, ended = played(dsn, name, *way)
        assert seen == [RunState.WARMING_UP, RunState.RUNNING, RunState.STOPPING]
        assert (ended.state, ended.content, ended.reason) == (RunState.STOPPED, "c0ffee", None)
    _, ended = played(dsn, name, RunEvent.JOINED, error=Misconfigured("no such pair."))
    assert (ended.state, ended.reason) == (RunState.FAILED, "no such pair.")
    _, ended = played(dsn, name)
    assert ended.state is RunState.STOPPED


def test_a_run_whose_process_was_killed_has_failed(dsn, name):
    async def main():
        store = await StrategyStore.open(dsn)
        try:
            columns = "bot, content, environment, state, since"
            query = f"INSERT INTO strategy_runs ({columns}) VALUES ($1, 'c0ffee', 'live', 'running', now())"
            await store.pool.execute(query, name)
            return next(one for one in await store.runs() if one.bot == name)
        finally:
            await store.close()

    one = asyncio.run(main())
    assert (one.state, one.reason) == (RunState.FAILED, "its process ended without a word")
    assert played(dsn, name, RunEvent.JOINED)[0] == [RunState.WARMING_UP]


class Away:
    """A database that does not answer."""

    async def execute(self, *_):
        raise asyncpg.InterfaceError("away")


def test_a_database_that_is_away_holds_up_no_run(dsn, name):
    async def main():
        async with RunRecorder.recording(dsn, name, "c0ffee", "live") as recorder:
            await recorder._told.join()

            recorder._pool = Away()
            began = asyncio.get_running_loop().time()
            recorder.tell(RunEvent.JOINED)
            recorder.tell(RunEvent.READY)
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(main()) < 3.0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("save", "none.yaml"), "config none.yaml does not exist"),
        (("parameters", "auto"), "strategy is auto, which trades by others"),
        (("parameters", "gird"), "strategy 'gird' is unknown; did you mean 'grid'"),
        (("show", "x" * 300), "no saved strategy's name begins with xxx"),
    ],
)
def test_bad_input_is_one_sentence(store_dir, tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    err = run(monkeypatch, capsys, *words, code=2)
    assert sentence in err and err.count("\n") == 1 and len(err) < 500
