"""What a person reads on the terminal: prices and quantities, never ticks and lots; sentences, never raw events.

The screens at four widths are golden files under tests/golden/screens: `TRADERAGENT_WRITE_SCREENS=1` writes them anew.
"""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from bot.events import Alarm
from bot.ports import Execution
from bot.record import new_records
from coordinator.announcements import filled
from coordinator.decisions import FIELDS, SENTENCES, decision_of, sentence
from coordinator.regime import Regime
from coordinator.roster import Roster
from coordinator.vocabulary import DECISION, NO_PAIR, DecisionKind, Variant
from services.messaging.silent_bus import SilentBus
from services.runtime.stages import Stages
from services.runtime.view import News, View
from services.runtime.warm import Compilation
from services.trials.parity import Fill
from services.trials.parity import told as parity_told
from tests.conftest import MINUTE, ROOT, START, Family, classic, instrument

SCREENS = ROOT / "tests" / "golden" / "screens"
TICKS = {"BTCUSDT": "0.1", "ETHUSDT": "0.01", "SOLUSDT": "0.001", "1000PEPEUSDT": "0.0000001"}


def news():
    instruments = {pair: instrument(tick=tick).model_copy(update={"symbol": pair}) for pair, tick in TICKS.items()}
    return News(SilentBus(), instruments, classic())


def decided(kind, ts=START, pair=0, **fields):
    decision = new_records(DECISION, 1)[0]
    decision["ts"], decision["pair"], decision["kind"] = ts, pair, int(kind)
    for name, value in fields.items():
        decision[name] = value
    return decision


def tell(to, pair, kind, ts=START, **fields):
    to.publish(decision_of(decided(kind, ts, 0 if pair else NO_PAIR, **fields), pair, Roster()))
    return to.lines[-1][1] if to.lines else ""


def fill(to, pair="BTCUSDT", price=411_234, lots=16, side=-1, ts=START):
    to.publish(filled(Execution("e", pair, "l", side, price, lots, 0.1, True, ts), to.instruments[pair]))


def test_a_fill_is_told_by_price_and_quantity():
    told = news()
    fill(told)
    assert (told.fills, told.last_fill) == (1, "01-01 00:00  BTCUSDT: sold 0.016 at 41123.4")


def test_a_difference_of_parity_is_told_by_price_and_quantity():
    said = parity_told(Fill("BTCUSDT", START, 3, 1, -1, 411_234, 16), {"BTCUSDT": instrument(tick="0.1", lot="0.001")})
    assert (said["price"], said["quantity"]) == ("41123.4", "0.016")
    assert not {"ticks", "lots"} & set(said)


# Sentences.

FEATURES = {"x": 17.2, "y": 0.61, "z": 0.003}
TIGHT, QUIET, BULL, BEAR = Regime.TIGHT_RANGE, Regime.QUIET_TRANSITION, Regime.BULL_TREND, Regime.BEAR_TREND


@pytest.mark.parametrize(
    ("before", "after", "running", "said"),
    [
        (QUIET, TIGHT, "grid", "regime quiet transition → tight range, grid keeps running"),
        (TIGHT, BULL, "grid", "regime tight range → bull trend, grid is to give way to trend"),
        (BULL, BEAR, "", "regime bull trend → bear trend, dca is to start"),
        (Regime.UNKNOWN, TIGHT, "", "regime tight range, grid is to start"),
    ],
)
def test_a_change_of_regime_says_what_follows_for_the_strategy(before, after, running, said):
    told = news()
    if running:
        tell(told, "BTCUSDT", DecisionKind.START, a=Family[running.upper()], b=Variant.CAUTIOUS, x=1214.0)
    whole = tell(told, "BTCUSDT", DecisionKind.REGIME, a=after, b=before, **FEATURES)
    assert whole == f"BTCUSDT: {said} (ADX 17.2, ATR 0.61 % of the price)"


def test_a_pair_that_is_flat_runs_nothing():
    told = news()
    tell(told, "BTCUSDT", DecisionKind.START, a=Family.GRID, b=Variant.CAUTIOUS, x=1214.0)
    said = tell(told, "BTCUSDT", DecisionKind.FLAT, a=Family.GRID, x=95.0)
    assert said == "BTCUSDT: flat, 95 minutes after the transition began"
    assert "trend is to start" in tell(told, "BTCUSDT", DecisionKind.REGIME, a=BULL, b=TIGHT, **FEATURES)


def test_a_mode_is_told_of_the_account():
    said = tell(news(), "", DecisionKind.MODE, a=0, b=1, x=0.0297, y=0.031, w=0.5)
    assert said == "account: REDUCED: day's loss 3.0 %, drawdown 3.1 %, sizes times 0.5"
    assert tell(news(), "", DecisionKind.MODE, a=1, b=0) == "account: normal mode again, full sizes"


@pytest.mark.parametrize("kind", list(DecisionKind))
def test_every_kind_of_decision_has_a_sentence(kind):
    """F-68."""
    assert set(FIELDS) == {*SENTENCES, DecisionKind.REGIME}
    said = sentence(decision_of(decided(kind, a=1, w=float(START)), "BTCUSDT", Roster()), "grid", "trend")
    assert said
    assert "_" not in said
    assert kind.name not in said or kind in (DecisionKind.MODE, DecisionKind.HALT)


def test_an_alarm_is_told():
    told = news()
    told.publish(Alarm("BTCUSDT", START, "silence", "critical", "no candle for three minutes", "look"))
    assert told.lines[-1][1] == "BTCUSDT: no candle for three minutes"


# Screens.

PAIRS = (  # pair, price, regime, strategy, phase, position, profit, entries, exits, target
    ("1000PEPEUSDT", 0.0084512, "volatile_transition", "dca", "running", 120000.0, -3.2, 3, 2, 612.0),
    ("BTCUSDT", 109_876.5, "bull_trend", "trend", "draining", -0.0105, 18.44, 0, 2, 2125.0),
    ("ETHUSDT", 3_391.07, "tight_range", "grid", "running", 0.31, 4.51, 10, 4, 1360.0),
    ("SOLUSDT", 143.2, "quiet_transition", "grid", "paused", 0.0, -12.08, 0, 0, 1054.3),
)


def status():
    names = ("pair", "price", "regime", "strategy", "phase", "position", "equity", "entries", "exits", "target")
    pairs = [dict(zip(names, one)) for one in PAIRS]
    figures = {"equity": 10_107.67, "exposure": 3133.0, "day_loss_pct": 2.97, "drawdown_pct": 3.1}
    return {"bot": "demo", "at": "2024-01-15T01:41:00Z", "modes": ["reduced", "stress"], **figures, "pairs": pairs}


def running():
    """A view of a bot that has traded for two days."""
    told = news()
    day = 24 * 60 * MINUTE
    for index, pair in enumerate(TICKS):
        tell(told, pair, DecisionKind.REGIME, START + index * MINUTE, a=TIGHT, b=Regime.UNKNOWN, **FEATURES)
        tell(told, pair, DecisionKind.START, START + index * MINUTE, a=Family.GRID, b=Variant.ARITHMETIC, x=1190.0)
    tell(told, "BTCUSDT", DecisionKind.REGIME, START + day, a=BULL, b=QUIET, x=36.6, y=1.28, z=0.02)
    moved = {"a": Family.GRID, "b": Family.TREND, "x": 109_000.0, "y": -72.7, "z": 111_500.5, "w": 108_200.0}
    tell(told, "BTCUSDT", DecisionKind.TRANSITION, START + day, **moved)
    tell(told, "SOLUSDT", DecisionKind.PAUSE, START + day + 90 * MINUTE, a=1, b=START + day + 210 * MINUTE, x=3.0)
    tell(told, "", DecisionKind.MODE, START + 2 * day, a=0, b=3, x=0.0297, y=0.031, w=0.25)
    fill(told, "ETHUSDT", 339_107, 310, 1, START + 2 * day)
    stages = Stages(clock=iter((0.0, 1.2, 1.2, 1.3, 1.3, 4.6, 4.6, 4.8, 4.8, 6.1)).__next__)
    for name in ("market", "exchange", "database", "bus", "trading"):
        stages.begin(name)
    stages.end()
    stages.compilation = Compilation(began=0.0, seconds=104.2)
    equity = [10_000.0 + 3.0 * (index % 7) + index for index in range(90)]
    return View(status(), told, equity, stages)


def screen(view, width, height=24):
    console = Console(record=True, width=width, height=height, file=io.StringIO(), color_system=None)
    console.print(view)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_screen_is_the_golden_one(width):
    path = SCREENS / f"demo_{width}.txt"
    drawn = screen(running(), width)
    if os.environ.get("TRADERAGENT_WRITE_SCREENS"):
        path.write_text(drawn, encoding="utf-8")
    assert drawn == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 72, 80, 90, 100, 120, 159, 160, 200, 240])
def test_pair_and_price_are_never_cut_and_no_line_is_too_long(width):
    lines = screen(running(), width).splitlines()
    assert all(len(one) <= width for one in lines)
    for pair, price in (("1000PEPEUSDT", "0.0084512"), ("BTCUSDT", "109,876.5"), ("SOLUSDT", "143.200")):
        assert any(pair in one and price in one for one in lines), (pair, width)
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("height", [24, 40, 60])
def test_the_screen_fits_the_height_and_shows_the_newest_decision(height):
    lines = screen(running(), 100, height).splitlines()
    assert len(lines) < height
    assert any("REDUCED, STRESS" in one for one in lines)


HERE = ["compiling", "bot.ledger.equity"]


def test_stages_say_what_is_under_way_and_how_long_the_others_took():
    done, times = [], iter((0.0, 1.5, 1.5, 4.0))
    stages = Stages(done.append, times.__next__)
    stages.begin("database")
    stages.begin("bus")
    assert [(one.name, one.seconds) for one in done] == [("database", 1.5)]
    stages.compilation = Compilation()
    stages.compiling("bot.ledger.equity", None)
    shown = screen(stages.table(), 80)
    assert [one.split() for one in shown.splitlines()[:2]] == [
        ["✓", "database", "1.5", "s"],
        ["…", "bus", "2.5", "s", *HERE],
    ]
    assert "compiled before" in stages.line().plain
