"""Rules that enter and leave by TWAP: what rests after each event, from the first slice to the last."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from backtesting.run import simulate
from bot import kernel, ledger, order
from bot.errors import Misconfigured
from bot.inputs import SHORT_BLOCK
from bot.order import FILL, OrderKind, Signal
from bot.record import new_record, new_records
from bot.rollup import BAR
from bot.strategy import PAIR, Event, protect
from coordinator import compiled
from coordinator import pair as pair_step
from coordinator.config import load_portfolio
from coordinator.machine import PairMachine
from coordinator.reconcile import desired_orders
from coordinator.vocabulary import DIRECTIVE
from strategies import rules
from strategies.rules import ENTRY, EXIT, STOP, TARGET
from tests.conftest import MINUTE, START, bars, instrument, walk

decide, protected, book = (kernel.interpreted(one) for one in (rules.decide, protect, ledger.book_fill))
TICK = 0.1
OFTEN = {"indicator": "RSI", "timeperiod": 3, "long_below": 35, "short_above": 65}
BOTH = {"enter_by": "twap", "leave_by": "twap"}
PROTECTIVE = 4


class Trade:
    """One pair whose events a test tells: slices of 10 lots, the first at minute 0, the next every 12 minutes."""

    def __init__(self, **section):
        section = {"when": [OFTEN], "reserve": 0, "sizing": "fixed_quote", "quote": 2503.0, **BOTH, **section}
        self.params = rules.RulesParameters(**section).record()
        self.state, self.pair, self.slots = new_record(rules.STATE), new_record(PAIR), order.new_slots(5)
        self.pair["instrument"] = instrument(min_notional=0, taker_fee=0, maker_fee=0).record(1.0)
        self.pair.price, self.pair.time, self.pair.target, self.pair.may_enter = 50_000.0, START, 10_000.0, True
        self.pair.bar_ms = MINUTE
        ledger.deposit(self.pair.ledger, 10_000.0)

    def _tell(self, kind, **more):
        decide(self.pair, self.params, self.state, self.slots[:PROTECTIVE], SimpleNamespace(kind=kind, **more))
        protected(self.pair, self.slots, PROTECTIVE, 0.2)
        return self

    def say(self, direction):
        return self._tell(Event.SIGNAL, inputs=SimpleNamespace(signal=float(direction)))

    def wait(self, minutes=1):
        """So many base bars close; a BASE that was not asked for must change nothing."""
        for _ in range(minutes):
            self.pair.time += MINUTE
            bar = new_record(BAR)
            bar.ts, bar.close = self.pair.time - MINUTE, self.pair.price
            before, asked = self.slots.tolist(), self.pair.watch_above == -np.inf
            self._tell(Event.BASE, bar=bar)
            assert asked or self.slots.tolist() == before
        return self

    def fill(self, index, lots=None, price=None):
        slot, execution = self.slots[index], new_record(FILL)
        lots, price = int(slot.quantity) if lots is None else lots, price or self.pair.price
        assert slot.active
        slot.quantity -= lots
        slot.active = slot.quantity > 0
        execution.slot, execution.side, execution.quantity = index, slot.side, lots
        book(self.pair.ledger, slot.side, price / TICK, lots, self.pair.instrument.tick_value, 0.0)
        self.pair.price = price
        return self._tell(Event.FILL, execution=execution)

    def refuse(self, index):
        self.slots[index].active = False
        execution = new_record(FILL)
        execution.slot = index
        return self._tell(Event.REFUSED, execution=execution)

    @property
    def orders(self):
        """Lots by slot."""
        return {i: int(one.quantity) for i, one in enumerate(self.slots) if one.active}

    @property
    def position(self):
        return int(self.pair.ledger.position)

    @property
    def watches(self):
        return self.pair.watch_above == -np.inf

    def held(self, slices=5):
        """Enter long in so many slices."""
        self.say(1).fill(ENTRY)
        for _ in range(slices - 1):
            self.wait(12).fill(ENTRY)
        return self


def test_an_entry_goes_in_slices_and_its_stop_follows_from_the_first_on():
    trade, found = Trade(stop="2%", target="4%").say(1), []
    for minute in range(60):
        if minute:
            trade.wait()
        if ENTRY in trade.orders:
            trade.fill(ENTRY, price=50_000.0 + 100 * len(found))
            found.append((minute, trade.position))
            average = 50_000.0 + 50 * (len(found) - 1)
            assert trade.orders == {STOP: trade.position, TARGET: trade.position}
            assert trade.slots[STOP].price == int(average * 0.98 / TICK)
    assert found == [(0, 10), (12, 20), (24, 30), (36, 40), (48, 50)]
    assert not trade.watches


def test_a_reversal_leaves_in_slices_and_then_opens_in_slices():
    trade, left = Trade(direction="long_short", stop="2%").held().say(-1), []
    assert trade.orders == {EXIT: 10, STOP: 50}
    for minute in range(1, 120):
        trade.wait()
        for index in (EXIT, ENTRY):
            if index in trade.orders:
                trade.fill(index)
                left.append((minute, index, trade.position))
    exits = [(1, EXIT, 40), (12, EXIT, 30), (24, EXIT, 20), (36, EXIT, 10), (48, EXIT, 0)]
    entries = [(48, ENTRY, -10), (60, ENTRY, -20), (72, ENTRY, -30), (84, ENTRY, -40), (96, ENTRY, -50)]
    assert left == exits + entries
    assert trade.orders == {STOP: 50} and trade.slots[STOP].side == 1


def test_the_protective_stop_stands_while_slices_leave():
    trade = Trade().held()
    assert trade.orders == {PROTECTIVE: 50}
    trade.say(-1)
    assert trade.orders == {EXIT: 10, PROTECTIVE: 50}
    trade.fill(EXIT)
    assert trade.orders == {PROTECTIVE: 40}
    for _ in range(3):
        trade.wait(12).fill(EXIT)
    trade.wait(12)
    assert trade.orders == {EXIT: 10}, "an order that closes the whole position needs no stop"
    assert trade.fill(EXIT).orders == {}


def test_a_signal_in_the_other_direction_ends_a_running_entry_and_leaves_what_is_held():
    trade = Trade(twap_limit=0.001).held(2).wait(12)
    assert trade.orders == {ENTRY: 10, PROTECTIVE: 20}
    trade.say(-1)
    assert trade.orders == {EXIT: 4, PROTECTIVE: 20}
    empty = Trade(direction="long_short", twap_limit=0).say(1)
    assert empty.orders == {ENTRY: 10}
    assert empty.say(-1).orders == {ENTRY: 10} and empty.slots[ENTRY].side == -1


def test_a_signal_in_the_position_s_direction_ends_a_running_exit():
    trade = Trade(direction="long_short", target="4%", twap_limit=0.001).held().say(-1).wait(12)
    assert trade.orders == {EXIT: 20, TARGET: 30, PROTECTIVE: 50}, "the two limits leave the position once"
    assert trade.say(1).orders == {TARGET: 50, PROTECTIVE: 50}
    assert trade.state.turn == 0 and not trade.watches


def test_a_signal_that_is_said_again_changes_nothing():
    trade = Trade().say(1).fill(ENTRY).say(1)
    assert trade.orders == {PROTECTIVE: 10} and trade.watches
    assert Trade().say(1).refuse(ENTRY).say(1).orders == {}
    trade = Trade().held().say(-1).fill(EXIT).say(-1)
    assert trade.orders == {PROTECTIVE: 40}
    assert trade.wait(12).orders == {EXIT: 10, PROTECTIVE: 40}


def test_an_entry_s_limit_is_dropped_when_the_time_is_over():
    trade = Trade(twap_limit=0.001, quote=2500.0).say(1)
    assert (trade.slots[ENTRY].kind, trade.slots[ENTRY].price) == (OrderKind.LIMIT, 500_500)
    trade.wait(12).fill(ENTRY, 5).wait(47)
    assert trade.orders == {ENTRY: 44, PROTECTIVE: 5}, "49 lots at the limit fit where 50 at the price would"
    assert trade.wait().orders == {PROTECTIVE: 5}
    assert not trade.watches


def test_an_exit_s_limit_rests_until_it_is_filled_or_set_anew():
    trade = Trade(twap_limit=0.001).held(5).say(-1)
    held = trade.position
    trade.wait(70)
    assert trade.orders == {EXIT: held, PROTECTIVE: held} and trade.slots[EXIT].price == 499_500
    assert not trade.watches
    trade.pair.price = 49_000.0
    assert trade.say(-1).orders[EXIT] < held and trade.slots[EXIT].price == 489_510, "leaving is still called for"


def test_a_refused_slice_is_dropped_and_the_plan_goes_on():
    trade = Trade().say(1).refuse(ENTRY)
    assert trade.orders == {}
    assert trade.wait(12).orders == {ENTRY: 10}
    assert trade.fill(ENTRY).wait(36).position == 10
    assert trade.orders == {ENTRY: 10, PROTECTIVE: 10}, "a market order that waits is not amended"
    trade.fill(ENTRY).wait().fill(ENTRY).wait(12)
    assert trade.position == 40 and not trade.watches


def test_a_market_exit_whose_slice_was_dropped_ends_with_the_whole_position():
    trade = Trade().held().say(-1).refuse(EXIT)
    for _ in range(3):
        trade.wait(12).fill(EXIT)
    assert trade.wait(12).orders == {EXIT: 20}


def test_a_reset_ends_the_plan():
    trade = Trade().say(1)._tell(Event.RESET)
    assert trade.orders == {} and not trade.watches
    assert trade.wait(30).orders == {}


@pytest.mark.parametrize("index", [STOP, TARGET])
def test_a_stop_or_target_in_the_middle_of_an_entry_ends_it(index):
    trade = Trade(stop="2%", target="4%").held(2).wait(12).fill(index, price=49_000.0)
    assert trade.position == 0 and trade.orders == {} and not trade.watches
    partly = Trade(stop="2%", target="4%").held(2).wait(12).fill(index, 5, price=49_000.0)
    assert ENTRY not in partly.orders and not partly.watches


def test_a_stop_in_the_middle_of_a_reversal_opens_the_other_way_at_once():
    trade = Trade(direction="long_short", stop="2%").held().say(-1).fill(EXIT).fill(STOP, price=49_000.0)
    assert trade.position == 0 and trade.orders == {ENTRY: 10} and trade.slots[ENTRY].side == -1


def test_a_close_beyond_the_stop_leaves_at_once_whatever_plan_runs():
    for said in (1, -1):
        trade = Trade(stop="2%", trigger="close", timeframe="15m").held(3).say(said)
        trade.pair.time = START + 44 * MINUTE
        trade.pair.price = 48_000.0
        trade.wait()
        assert trade.orders == {EXIT: 30} and trade.slots[EXIT].kind == OrderKind.MARKET
        assert trade.slots[EXIT].signal == Signal.EXIT_SL
        for again in (1, -1):
            assert trade.say(again).orders == {EXIT: 30}, "what leaves at a stop goes on"


def test_the_other_way_stays_at_the_market():
    trade = Trade(enter_by="market").say(1)
    assert trade.orders == {ENTRY: 50}
    assert trade.fill(ENTRY).say(-1).orders == {EXIT: 10, PROTECTIVE: 50}
    trade = Trade(leave_by="market").held()
    assert trade.say(-1).orders == {EXIT: 50}


# A bot that is restarted in the middle of a plan

EDGE = START // SHORT_BLOCK * SHORT_BLOCK + SHORT_BLOCK


def lived(minutes, restarts, monkeypatch):
    """Fills of a bot's pair, whose orders fill at once, over so many minutes from a block's edge; and plans restarted.

    `restarts`: minutes at which another machine goes on with what was stored.
    """
    values = {"timeframe": "5m", "warmup_bars": 0, "direction": "long_short", "when": [OFTEN], **BOTH}
    values |= {"twap_minutes": 15, "stop": "2%"}
    config = load_portfolio({"strategy": "rules", "pairs": ["BTCUSDT"], "rules": values})
    roster = config.algorithm.roster
    plain = kernel.interpreted(compiled.dispatch_event, decide=pair_step.decide, dispatch=roster.dispatch())
    monkeypatch.setattr("coordinator.machine.compiled_dispatch", lambda _: plain)
    candles = walk(240 + minutes, seed=11, volatility=0.002)
    base = new_records(BAR, len(candles))
    for name in ("open", "high", "low", "close", "volume"):
        base[name] = getattr(candles, name)
    base["ts"] = EDGE + MINUTE * (np.arange(len(base)) - 240)

    def machine(before):
        one = PairMachine(config.algorithm, instrument(), 1.0, MINUTE)
        if before is not None:
            one.restore(before.saved())
        one.take_history(base[base["ts"] < max(one.time, EDGE)])
        return one

    one, fills, running = machine(None), [], 0
    given = new_records(DIRECTIVE, 1)
    given[0].share, given[0].multiplier, given[0].others, given[0].exposure_limit = 1.0, 1.0, 10_000.0, 1e9
    one.take_bars(base[240:241])
    one.take_directive(given)
    for at in range(241, len(base)):
        if at - 240 in restarts:
            running += int(one.states[0].rules.plan.total > 0)
            one = machine(one)
        one.take_bars(base[at : at + 1])
        filled = {}
        for _ in range(3):  # what answers a fill may fill too
            book = (one.slots, one.position)
            for sent in desired_orders(*book, linear=True, bot="b", symbol="BTCUSDT", filled={}, largest=1 << 40):
                if sent.client_order_id not in filled:
                    filled[sent.client_order_id] = sent.lots
                    one.take_fill(sent, one.time, one.ticks, sent.lots, 0.01, maker=False)
                    fills.append((at, sent.slot, sent.generation, sent.side, sent.lots, one.ticks, one.position))
    return fills, running


def test_a_bot_that_is_restarted_in_the_middle_of_plans_trades_as_one_that_is_not(monkeypatch):
    with np.errstate(all="ignore"):
        whole, _ = lived(240, (), monkeypatch)
        again, running = lived(240, range(7, 240, 13), monkeypatch)
    assert len({one[0] for one in whole}) > 30 and running > 5
    assert again == whole


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"twap_slices": 4}, "twap_slices is 4 but nothing goes by TWAP; set enter_by or leave_by to twap"),
        ({"twap_limit": "1%"}, "twap_limit is 0.01 but nothing goes by TWAP"),
        ({"enter_by": "twap", "twap_minutes": 3}, "twap_minutes is 3, too short for 5 slices a minute apart"),
        ({"leave_by": "vwap"}, "leave_by"),
        ({"enter_by": "twap", "twap_slices": 100, "twap_minutes": 200, "quote": 400.0}, "a slice of 4 is under"),
        ({"enter_by": "twap", "twap_minutes": 20}, "too short for 5 slices of base bars of 5m; give at least 25"),
    ],
)
def test_what_cannot_work_is_one_sentence(section, sentence):
    values = {"when": [OFTEN], "timeframe": "15m", **section}
    candles = bars(*[(50_000.0, 50_100.0, 49_900.0, 50_000.0)] * 10, minute=5)
    with pytest.raises(Misconfigured) as error:
        simulate({"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": values}, candles)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_default_values_may_be_written_out():
    assert rules.RulesParameters(when=[OFTEN], twap_slices=5, twap_minutes=60).slices == 0
