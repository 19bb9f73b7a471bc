"""What the tests share: small markets made here, real candles where they lie, a kernel cache that stays warm."""

from __future__ import annotations

import asyncio
import itertools
import os
from decimal import Decimal
from enum import IntEnum
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import structlog
import yaml
from hypothesis import settings

from backtesting import loop, simulator
from bot.candles import Candles
from bot.instrument import Instrument, Market
from bot.kernel import interpreted
from coordinator.parameters import AlgorithmParameters
from coordinator.presets import laid_under
from coordinator.roster import Roster
from services.storage.embedded import EmbeddedPostgres

# A kernel that is compiled at its first call takes long once: no property fails by the clock.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared" / "data" / "candles"
START = 1_704_067_200_000
Family = IntEnum("Family", {name.upper(): family for family, name in enumerate(Roster().names)})
MINUTE = 60_000


def instrument(tick="0.1", lot="0.001", market=Market.LINEAR, **fields) -> Instrument:
    given = {"min_notional": Decimal(5), **fields}
    return Instrument(symbol="BTCUSDT", market=market, tick_size=Decimal(tick), lot_size=Decimal(lot), **given)


def walk(bars: int, seed: int = 1, start: float = 50_000.0, tick: float = 0.1, volatility: float = 0.001) -> Candles:
    """A random walk of one-minute bars on the tick grid, four steps a bar."""
    rng = np.random.default_rng(seed)
    path = np.exp(np.cumsum(rng.standard_normal(bars * 4)) * volatility / 2)
    ticks = np.maximum(np.rint(start / tick * path), 1.0)
    ends = ticks.reshape(bars, 4)
    opens = np.concatenate(([np.rint(start / tick)], ends[:-1, 3]))
    every = np.column_stack([opens, ends])
    prices = [np.round(column * tick, 10) for column in (opens, every.max(1), every.min(1), ends[:, 3])]
    volume = np.round(rng.lognormal(3.0, 1.0, bars), 3)
    return Candles(START + MINUTE * np.arange(bars), *prices, volume, MINUTE)


def bars(*rows: tuple[float, float, float, float], volume: float = 1000.0, minute: int = 1) -> Candles:
    """Candles from (open, high, low, close) rows."""
    columns = np.array(rows, float).T
    n = len(rows)
    return Candles(START + minute * MINUTE * np.arange(n), *columns, np.full(n, volume), minute * MINUTE)


def real(relative: str) -> Candles:
    path = REAL / relative
    if not path.exists():
        pytest.skip(f"real candles are not here: {relative} under ../shared/data/candles")
    frame = pl.read_parquet(path)
    from backtesting.candles import from_frame

    return from_frame(frame)


def play_interpreted(monkeypatch, *names):
    """Let the fast loop be plain Python around these strategies, or around every one: each would be code of its own."""
    compiled = simulator.compiled_loop

    def loop_around(strategy):
        if names and strategy.name not in names:
            return compiled(strategy)
        plain = interpreted(loop.loop, **simulator.bindings_of(strategy))

        def run(*arguments):
            with np.errstate(all="ignore"):  # as compiled code does
                return plain(*arguments)

        return run

    monkeypatch.setattr(simulator, "compiled_loop", loop_around)


def classic(**sections) -> AlgorithmParameters:
    """Parameters of the whole algorithm by its preset `classic`, in which every part has its say."""
    auto = {"preset": "classic", **sections.pop("auto", {})}
    filled = laid_under({"auto": auto, **sections})
    return AlgorithmParameters(**filled)


def unreachable_bot(folder: Path) -> Path:
    """Write the config of a bot with its own database and bus, whose exchange does not answer."""
    bot = {"name": "house", "environment": "venue", "address": "http://127.0.0.1:1", "data_dir": str(folder)}
    path = folder / "bot.yaml"
    path.write_text(yaml.safe_dump({"strategy": "auto", "pairs": ["BTCUSDT"], "bot": bot}))
    return path


@pytest.fixture(autouse=True)
def _logs_as_before():
    """A command that a test calls says how logs are written, perhaps to a stream that ends with the test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def store_dir(tmp_path, monkeypatch):
    """An empty data directory, as a new user has it."""
    monkeypatch.setenv("TRADERAGENT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


# Processes that a test starts import as a user's do: from bytecode, once it is written.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_numbers = itertools.count()


@pytest.fixture(scope="session")
def dsn(tmp_path_factory):
    """One Postgres for the whole session; every test has a bot name of its own, and so rows of its own."""
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    address = asyncio.run(postgres.start())
    yield address
    asyncio.run(postgres.stop())


@pytest.fixture
def name():
    return f"t{next(_numbers)}"


def pytest_sessionstart(session):
    """Compile once what every worker of a whole run needs."""
    config = session.config
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly
    if whole and not hasattr(config, "workerinput"):
        from tests.machine_code import prepare  # half of the project

        prepare()


def pytest_collection_modifyitems(items):
    """Tests of an hour and benchmarks have no limit of time."""
    for item in items:
        if item.get_closest_marker("long") or "bench" in item.path.parts:
            item.add_marker(pytest.mark.timeout(0))
