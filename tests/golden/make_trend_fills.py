"""Records the fills of the trend follower's `classic` preset: `uv run python -m tests.golden.make_trend_fills`.

What it records is version 0.1.0's behaviour, kept to the last fill; record anew only for a change that is meant.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.candles import Candles
from coordinator.config import load_config
from tests.conftest import instrument, walk

FILE = Path(__file__).parent / "trend_classic.json"
# name: bars and seed of the walk, its volatility, and what differs from the defaults
CASES: dict[str, tuple[int, int, float, dict[str, Any]]] = {
    "hourly": (30_000, 31, 0.0006, {}),
    "quarters of an hour": (12_000, 32, 0.001, {"timeframe": "15m", "warmup_bars": 60}),
    "long only": (12_000, 33, 0.001, {"timeframe": "15m", "warmup_bars": 60, "direction": "long"}),
    "reversals": (12_000, 34, 0.0004, {"timeframe": "5m", "warmup_bars": 60, "sideways": 0.01}),
}
REAL_FILES = ("ftx/linear/BTCPERP/1m.parquet",)
REAL_BARS = 60 * 1440
COLUMNS = ("ts", "slot", "generation", "side", "price", "quantity", "signal", "liquidity", "position")


def fills_of(candles: Candles, parameters: dict[str, Any]) -> list[list[int]]:
    """Fills of the trend follower, a row of COLUMNS each."""
    config = load_config({"strategy": "trend", "pair": "BTCUSDT", "trend": {"preset": "classic", **parameters}})
    fills = UniversalSimulator(config).run(PreparedCandles.of(candles, instrument())).fills
    return [[int(one[name]) for name in COLUMNS] for one in fills]


def case(name: str) -> list[list[int]]:
    """Fills of one of CASES."""
    count, seed, volatility, parameters = CASES[name]
    return fills_of(walk(count, seed=seed, volatility=volatility), parameters)


def fingerprint(rows: list[list[int]]) -> str:
    """Name rows by their content."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


if __name__ == "__main__":
    from tests.conftest import real

    found = {name: case(name) for name in CASES}
    marks = {file: fingerprint(fills_of(real(file).rows(slice(0, REAL_BARS)), {})) for file in REAL_FILES}
    lines = [f"{json.dumps(name)}: {json.dumps(rows, separators=(',', ':'))}" for name, rows in found.items()]
    lines.append(f'"real": {json.dumps(marks)}')
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
