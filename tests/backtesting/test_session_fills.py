"""A session written by hand, told in the order in which an exchange tells it: what its twin fills, and what if."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from backtesting.command_outcome import command_outcome
from backtesting.drift import RowKind, TradedFill, pair_fills
from backtesting.session_fills import simulate_session
from backtesting.what_if import what_if
from bot.instrument import Market
from bot.ports import Closed, Execution
from bot.record import new_records
from coordinator import machine
from coordinator.config import load_portfolio
from coordinator.instructions import Load, Loaded, Save
from coordinator.machine import PairMachine
from coordinator.messages import Directive, Recover
from coordinator.operator import CommandKind
from coordinator.pair_core import PairCore
from coordinator.session import head, packed
from coordinator.vocabulary import DIRECTIVE
from services.app.drift import _rows, _spans
from tests.conftest import MINUTE, START, instrument
from tests.coordinator.driven import plain_dispatch
from tests.coordinator.world import World, driven

RANGE = {"preset": "exchange", "lower": 48_000, "upper": 52_000, "levels": 9}
GRID = {**RANGE, "direction": "long", "initial_inventory": False}


class Storing(World):
    """A world whose store gives back what was saved last."""

    def __init__(self):
        super().__init__()
        self.core, self.loaded = None, None

    def answer(self, instruction):
        if isinstance(instruction, Load):
            return self.loaded
        if isinstance(instruction, Save):
            memory = self.core.memory
            self.loaded = Loaded(self.core.machine.saved(), dict(memory.orders), list(memory.booked))
        return super().answer(instruction)


class Written:
    """A pair with a grid, in front of a world that answers at once, and the lines of its session."""

    def __init__(self, traded=None, **more):
        given = {"strategy": "grid", "pairs": ["BTCUSDT"], "leverage": 3.0, "grid": GRID, **more}
        self.config = load_portfolio(given)
        self.machine = PairMachine(self.config.algorithm, traded or instrument(), self.config.leverage, MINUTE)
        self.world, self.minute, self.price = Storing(), 0, 50_010.0
        self.begin()
        given = new_records(DIRECTIVE, 1)
        given[0].family = int(self.machine.params[0].pinned)
        given[0].share = given[0].multiplier = 1.0
        given[0].others = given[0].target = 10_000.0
        given[0].exposure_limit, given[0].sequence = 1e9, 1
        self.tell(Directive(1, START, given))

    def begin(self):
        """Begin a session with what is stored."""
        self.core = PairCore(
            *("b", self.machine, lambda _report: None, lambda: None), start=START, now=0.0, most_actions=60
        )
        self.world.core = self.core
        self.lines = [head(self.core, self.config, most_actions=60, adopt=False)]
        self.tell(Recover())

    def crash(self):
        """Start again with what is stored; returns the lines of the session that has ended."""
        before = self.lines
        self.machine = PairMachine(self.config.algorithm, self.machine.instrument, self.config.leverage, MINUTE)
        self.begin()
        return before

    def tell(self, message):
        self.lines.append({"in": packed(message), "waiting": 0, "now": 0.0})

        def answered(instruction):
            answer = self.world.answer(instruction)
            self.lines.append({"out": packed(instruction), "answer": packed(answer), "now": 0.0})
            return answer

        driven(self.core.handle(message), answered)

    def close(self, to=None):
        """The next minute ends at this price."""
        to = self.price if to is None else to
        low, high = sorted((self.price, to))
        self.tell(Closed("BTCUSDT", START + self.minute * MINUTE, self.price, high, low, to, 1e6))
        self.price, self.minute = to, self.minute + 1

    def session(self, lines=None):
        return simulate_session(json.loads(json.dumps(lines or self.lines)))

    def fill(self, order, ahead=0):
        """All of an order is filled in the minute that forms, or so many minutes ahead of it; returns the live fill."""
        one = self.world.open.pop(order)
        at = START + (self.minute + ahead) * MINUTE + 300
        fee = one.price * one.lots * 1e-4 * 0.0002
        said = Execution(f"e{at}", "BTCUSDT", order, one.side, one.price, one.lots, fee, maker=True, ts=at)
        self.world.executions[order] = [said]
        self.world.held += one.side * one.lots
        self.tell(said)
        return TradedFill("BTCUSDT", at, order, one.side, one.price * 0.1, one.lots, 0.001, fee, True, one.price * 0.1)


@pytest.fixture
def plain(monkeypatch):
    """Pairs without the compiler."""
    monkeypatch.setattr(machine, "compiled_dispatch", plain_dispatch)


@pytest.fixture
def written(plain):
    pair = Written()
    for _ in range(4):
        pair.close()
    return pair


def test_a_fill_that_is_heard_before_the_candle_of_the_minute_before_it_has_its_twin(written):
    """Executions come at once, a candle a second after its end: by then the pair holds what the next minute filled."""
    live = [written.fill("b-BTCUSDT-004-1", ahead=1)]
    written.close()
    written.close(49_800.0)
    written.close()
    live.append(written.fill("b-BTCUSDT-003-1"))
    written.close(49_400.0)
    written.close()
    found = written.session()
    assert found.ended == "" and len(found.bars) == 9
    assert [row.kind for row in pair_fills(live, found.fills)] == [RowKind.PAIRED, RowKind.PAIRED]


def test_a_minute_that_two_sessions_cover_is_simulated_once(written):
    """After a crash the next session begins with what was stored, minutes before the last one ends."""
    written.close(49_800.0)
    written.close()
    first = written.session()
    second = replace(first, since=first.since + 3 * MINUTE)
    rows = _rows([], [first, second], [(first.since, first.until)], {})
    assert [(row.kind, row.known.order) for row in rows] == [(RowKind.MISSED, "b-BTCUSDT-004-1")]


def test_a_minute_of_which_fills_were_stored_before_a_crash_is_left_out_with_its_reason(written):
    """The twin begins with what was stored, which has the fill: it was unexpected, with what it brought as a cost."""
    live = [written.fill("b-BTCUSDT-004-1")]
    before = written.crash()
    written.close(49_800.0)
    live.append(written.fill("b-BTCUSDT-003-1"))
    written.close(49_400.0)
    sessions = [written.session(before), written.session()]
    spans, missing = _spans("BTCUSDT", live, sessions, [], None, None)
    assert [(row.kind, row.known.order) for row in _rows(live, sessions, spans, {})] == [
        (RowKind.PAIRED, "b-BTCUSDT-003-1")
    ]
    (left_out,) = missing
    assert (left_out.until - left_out.since, left_out.fills) == (MINUTE, 1)
    assert "the bot was started again at 2024-01-01T00:04" in left_out.why


def test_what_if_counts_what_fills_on_the_way_to_the_stop_among_what_is_lost_there(written):
    """A grid buys all the way down to its stop: the loss of the one cell that is held is the smallest part of it."""
    saved, made_of = written.machine.saved(), (written.config, written.machine.instrument)
    there = what_if(*made_of, saved, 49_900.0)
    held = there.position * (49_900.0 - there.stop)
    gone = what_if(*made_of, saved, there.stop)
    assert there.position == 0.074 and gone.position == 0.0 and len(gone.fills) == 6
    assert there.loss_at_stop == pytest.approx(there.profit - gone.profit)
    assert there.loss_at_stop > 4 * held > 0.0
    whole = what_if(*made_of, saved, 47_900.0)
    fee = whole.position * whole.stop * 0.00055
    assert whole.loss_at_stop == pytest.approx(whole.position * (47_900.0 - whole.stop) + fee, rel=1e-3)


def test_what_if_and_what_a_command_would_do_where_a_lot_is_a_millionth_of_a_coin(plain):
    """As on spot: a market that fills everything has more lots than fit into a number."""
    spot = Written(instrument("0.01", "0.000001", Market.SPOT), market="spot", leverage=1.0)
    for _ in range(4):
        spot.close()
    made_of, saved = (spot.config, spot.machine.instrument), spot.machine.saved()
    assert what_if(*made_of, saved, 49_900.0).position == pytest.approx(0.025, abs=1e-4)
    spot.fill("b-BTCUSDT-004-1")
    said = command_outcome(*made_of, spot.machine.saved(), CommandKind.CLOSE_ALL)
    assert (said.closing_orders, said.position) == (1, 0.0) and said.closed == said.position_now > 0.0
