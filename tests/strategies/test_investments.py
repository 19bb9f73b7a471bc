"""Capital that is added while a bot runs, or taken out: sizes follow it, and no money appears or goes."""

from __future__ import annotations

import numpy as np
import pytest

from backtesting import portfolio_loop, portfolio_simulator
from backtesting.portfolio_run import simulate_portfolio
from bot.candles import iso
from bot.errors import Misconfigured
from bot.kernel import interpreted
from bot.times import DAY, HOUR
from coordinator import pair as pair_step
from coordinator.config import load_portfolio
from coordinator.vocabulary import DecisionKind
from tests.conftest import walk

CANDLES = walk(3 * 1440, seed=5, volatility=0.001)
BEGIN = int(CANDLES.ts[0])
ADDED, TAKEN = BEGIN + DAY, BEGIN + 2 * DAY
# One range for all three days, so that only what is added can change the sizes.
GRID = {"timeframe": "15m", "warmup_bars": 20, "risk_budget": 1.0, "max_drawdown": 1.0, "levels": 40, "trailing": "off"}
GRID |= {"lower": 40_000, "upper": 60_000, "stop_loss": 0.5}

FINE = {"BTCUSDT": {"lot_size": "0.00001"}}  # so that rounding to lots is little


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    """Play without the compiler: it is the decisions that count here."""

    def plain(roster):
        bindings = {"decide": pair_step.decide, "dispatch": roster.dispatch(), "take_inputs": roster.take_inputs()}
        return interpreted(portfolio_loop.portfolio_loop, **bindings)

    monkeypatch.setattr(portfolio_simulator, "compiled_loop", plain)


def config(strategy="grid", *amounts, **more):
    given = [{"at": iso(at), "amount": amount} for at, amount in zip((ADDED, TAKEN), amounts, strict=False)]
    sections = {"grid": GRID} if strategy == "grid" else {}
    values = {"strategy": strategy, "pairs": ["BTCUSDT"], "exchange": "synth", "instruments": FINE, **sections, **more}
    return load_portfolio({**values, "investments": given} if given else values)


def played(*amounts, **grid):
    return simulate_portfolio(config("grid", *amounts, grid={**GRID, **grid}), {"BTCUSDT": CANDLES})


def sizes(result, since, until):
    """Notional of every entry in a span of time."""
    recording = result.recording.recordings[0]
    fills = recording.fills[(recording.fills["ts"] >= since) & (recording.fills["ts"] < until)]
    entries = fills[fills["signal"] == 0]
    return entries["price"] * entries["quantity"] * recording.prepared.instrument.tick_value


def test_the_cells_of_a_grid_grow_and_shrink_with_the_capital():
    plain, told = played(), played(10_000, -15_000)
    usual = np.median(sizes(plain, BEGIN, ADDED))
    assert np.median(sizes(told, BEGIN, ADDED)) == pytest.approx(usual, rel=0.01)  # losses shrink one, not the other
    assert np.median(sizes(told, ADDED + 12 * HOUR, TAKEN)) == pytest.approx(2 * usual, rel=0.02)
    assert np.median(sizes(told, TAKEN + 12 * HOUR, BEGIN + 3 * DAY)) == pytest.approx(0.5 * usual, rel=0.02)
    kinds = told.decisions(DecisionKind.INVESTMENT)
    assert kinds[["ts", "x", "y"]].tolist() == [
        (ADDED, 10_000.0, 20_000.0),
        (TAKEN, -15_000.0, 5_000.0),
    ]


def test_the_account_holds_what_is_added_later_from_the_beginning():
    told = played(10_000, -15_000)
    assert told.metrics.initial_capital == told.equity[0] == 20_000.0
    assert told.metrics.total_profit == pytest.approx(float(told.equity[-1]) - 20_000.0)


@pytest.mark.parametrize("reinvest", ["profits", "all"])
def test_a_grid_that_reinvests_takes_it_too(reinvest):
    plain, told = (played(*amounts, reinvest=reinvest) for amounts in ((), (10_000,)))
    times = (ADDED + 12 * HOUR, BEGIN + 3 * DAY)
    assert np.median(sizes(told, *times)) == pytest.approx(2 * np.median(sizes(plain, *times)), rel=0.05)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"strategy": "auto", "amounts": (500,)}, "investments change the capital of one strategy"),
        ({"reinvest": True, "amounts": (500,)}, "investments change the capital of one strategy"),
        ({"allocation": {"reserve": 0.1}, "amounts": (500,)}, "investments change the capital of one strategy"),
        ({"amounts": (-10_000,)}, "leaves a capital of 0; take out less"),
        ({"investments": [{"at": iso(TAKEN), "amount": 1}, {"at": iso(ADDED), "amount": 1}]}, "order them by time"),
        ({"investments": [{"at": "soon", "amount": 1}]}, "soon"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(more, said):
    amounts, strategy = more.pop("amounts", ()), more.pop("strategy", "grid")
    with pytest.raises(Misconfigured, match=said):
        config(strategy, *amounts, **more)
