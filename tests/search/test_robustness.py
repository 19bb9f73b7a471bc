"""Monte Carlo and stress: what is drawn keeps what it is drawn from, and each fault does what it says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from backtesting.candles import to_frame
from backtesting.run import simulate
from bot.errors import Misconfigured
from bot.times import DAY
from coordinator.config import load_config
from search.monte_carlo import monte_carlo, play, redrawn, redrawn_trades, trade_profits
from search.stress import _doubled, _largest_holding, stress
from search.window import market_of
from tests.conftest import walk
from tests.search.test_sessions import command

CANDLES = walk(40 * 1440, seed=3, volatility=0.0007)
PLAIN = {
    "strategy": "grid",
    "pair": "BTCUSDT",
    "exchange": "synth",
    "grid": {"preset": "classic", "levels": 8, "warmup_bars": 30},
}


@pytest.fixture(scope="module")
def base():
    return simulate(PLAIN, CANDLES)


def market():
    return market_of(load_config(PLAIN), CANDLES)


def test_trades_drawn_anew_make_on_average_what_they_made(base):
    profit = trade_profits(base)
    assert base.metrics.open_trades
    assert profit.sum() == pytest.approx(base.metrics.closed_profit + base.metrics.open_profit)
    drawn = redrawn_trades(profit, 10_000.0, 4000, 1)
    error = drawn.returned.std() / np.sqrt(4000)
    assert drawn.returned.mean() == pytest.approx(profit.sum() / 100, abs=5 * error)
    assert (drawn.drawdown >= 0).all() and (drawn.drawdown <= 100).all()
    assert (drawn.drawdown + 1e-9 >= -drawn.returned).all(), "what was lost in the end was a drawdown"
    again = redrawn_trades(profit, 10_000.0, 4000, 1)
    assert (again.returned == drawn.returned).all()
    assert redrawn_trades(profit[:9], 10_000.0, 10, 1) is None


def test_what_is_ruined_on_the_way_stays_ruined():
    """F-44: no draw comes back from nothing."""
    drawn = redrawn_trades(np.array([60.0, -120.0, 60.0, 80.0] * 5), 100.0, 500, 3)
    ruined = drawn.drawdown == 100.0
    assert 0 < ruined.sum() < 500
    assert (drawn.returned[ruined] == -100.0).all()


def test_candles_drawn_anew_are_days_of_the_period_that_go_on_from_the_last_price(base):
    drawn = redrawn(base.config, market(), 7).candles["BTCUSDT"]
    assert (np.diff(drawn.ts) == 60_000).all() and len(drawn) >= len(CANDLES) - 2 * 1440
    assert (drawn.low <= np.minimum(drawn.open, drawn.close)).all()
    assert (drawn.high >= np.maximum(drawn.open, drawn.close)).all()
    tick = float(base.config.instrument["tick_size"])
    assert drawn.close / tick == pytest.approx(np.round(drawn.close / tick), abs=1e-6)

    def moves(candles):
        """Return of each whole day after the first."""
        last = np.flatnonzero(np.diff(candles.ts // DAY, append=-1))
        return np.round(np.diff(np.log(candles.close[last])), 4)

    kept = moves(CANDLES)
    assert all(np.abs(kept - one).min() < 2e-4 for one in moves(drawn)), "a day that never was"
    assert len(set(moves(drawn).tolist())) > 3
    assert not np.array_equal(drawn.close, redrawn(base.config, market(), 8).candles["BTCUSDT"].close[: len(drawn)])


def test_a_monte_carlo_plays_the_config_on_every_tape():
    heard = []
    found = monte_carlo(load_config(PLAIN), market(), draws=50, tapes=3, seed=2, progress=heard.append)
    assert heard == pytest.approx([1 / 3, 2 / 3, 1.0])
    config = simulate(PLAIN, CANDLES).config
    for tape, returned in enumerate(found.candles.returned.tolist()):
        alone = play(config, redrawn(config, market(), 2 * 1_000_003 + tape)).metrics
        assert returned == alone.total_return_pct
    assert len(found.words) == 3 and "candles drawn anew" in found.words[2]
    few = market_of(load_config(PLAIN), CANDLES.rows(slice(0, 8 * 1440)))
    with pytest.raises(Misconfigured, match="a Monte Carlo draws from 10 or more"):
        monte_carlo(load_config(PLAIN), few, tapes=1)


def test_each_fault_does_what_it_says(base):
    found = {one.name: one for one in stress(load_config(PLAIN), market())}
    assert list(found) == ["as it is", "doubled costs", "a missing day", "a gap down of 30%", "a gap up of 30%"]
    assert found["as it is"].figures["total_return_pct"] == pytest.approx(base.metrics.total_return_pct)
    dear = simulate(
        {
            **PLAIN,
            "execution": {"slippage_bps": 2.0},
            "instrument": {name: 2 * float(base.config.instrument[name]) for name in ("maker_fee", "taker_fee")},
        },
        CANDLES,
    )
    assert found["doubled costs"].figures["total_return_pct"] == pytest.approx(dear.metrics.total_return_pct)
    assert found["doubled costs"].figures["total_return_pct"] < found["as it is"].figures["total_return_pct"]
    assert found["a gap down of 30%"].figures["worst_day_pct"] < -1.0
    returns = [one.figures["total_return_pct"] for one in found.values()]
    assert len(set(returns)) == 5


def test_doubled_costs_are_never_smaller(base):
    instrument = {**base.config.instrument, "maker_fee": "-0.0001", "taker_fee": "0.0005"}
    dear = _doubled(base.config.changed(instrument=instrument))
    assert (float(dear.instrument["maker_fee"]), float(dear.instrument["taker_fee"])) == (-0.0001, 0.001)
    assert dear.execution.forced_exit_bps == 2 * base.config.execution.forced_exit_bps > 0


def test_the_gap_comes_while_there_are_bars_behind_it(base):
    """It stands behind the largest position before the last bar, also where the largest is that of the last bar."""
    at = _largest_holding(base)
    ts = base.recording.prepared.candles.ts[: base.recording.bars]
    largest = ts[int(np.argmax(np.abs(base.recording.worth())))]
    for until in (at, largest):
        bars = int(np.searchsorted(ts, until)) + 1
        shorter = simulate({**PLAIN}, CANDLES.rows(slice(0, bars)))
        assert _largest_holding(shorter) < until


def test_months_that_the_candles_hold_are_played():
    start = int(np.datetime64("2022-10-15", "ms").astype(np.int64))
    candles = walk(50 * 1440, seed=4, volatility=0.0007)
    later = replace(candles, ts=candles.ts - candles.ts[0] + start)
    found = {one.name: one for one in stress(load_config(PLAIN), market_of(load_config(PLAIN), later))}
    alone = simulate({**PLAIN, "from": "2022-11-01", "to": "2022-12-01"}, later)
    assert found["2022-11"].figures["total_return_pct"] == pytest.approx(alone.metrics.total_return_pct)
    assert "2022-06" not in found


@pytest.mark.slow  # processes
def test_the_commands(tmp_path):
    candles, config = tmp_path / "candles.parquet", tmp_path / "grid.yaml"
    to_frame(CANDLES).write_parquet(candles)
    config.write_text(yaml.safe_dump(PLAIN))
    told = command(
        tmp_path,
        "montecarlo",
        config,
        "--candles",
        candles,
        "--tapes",
        2,
        "--draws",
        20,
        "--json",
        "--page",
        tmp_path / "mc.html",
    )
    found = json.loads(told)
    assert "grid on BTCUSDT" in (tmp_path / "mc.html").read_text()
    assert set(found) == {"verdict", "trades", "candles"} and "p50" in found["candles"]["total_return_pct"]
    rows = json.loads(
        command(tmp_path, "stress", config, "--candles", candles, "--json", "--page", tmp_path / "st.html")
    )
    assert "doubled costs" in (tmp_path / "st.html").read_text()
    assert [row["scenario"] for row in rows][:2] == ["as it is", "doubled costs"] and rows[0]["liquidated"] == 0.0
    command(tmp_path, "backtest", config, "--candles", candles, "--out", tmp_path / "run")
    assert "of the largest position" in command(tmp_path, "stress", tmp_path / "run", "--candles", candles)
