"""A replay: the same trades as the simulator's and the exchange's own, and nothing of the future."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from backtesting.exchange import SETTINGS
from backtesting.replay import BY_HAND, ReplayedSession, ReplaySetup
from backtesting.replay_actions import (
    AskedOrder,
    CancelAction,
    CloseAction,
    EntryAction,
    NoteAction,
    ProtectAction,
    StepAction,
    action_of,
)
from backtesting.run import simulate
from backtesting.simulator import settings_record
from bot.errors import Misconfigured
from bot.order import OrderKind
from services.simulated_bybit.book import Book
from services.simulated_bybit.records import Trade, VenueOrder
from strategies.manual import CLOSE, ENTRIES, ENTRY, STOP, TARGET
from tests.conftest import MINUTE, START, instrument, walk

BARS = 240


def setup_of(**more):
    given = {
        "exchange": "synth", "market": "linear", "pair": "BTCUSDT", "timeframe": "1m", "start": START + 30 * MINUTE,
        "end": START + BARS * MINUTE, "capital": 10_000, "leverage": 3, "instrument": instrument(),
        "execution": {"funding": "constant"},
    }  # fmt: skip
    return ReplaySetup.model_validate(given | more)


class Session:
    """A session that is played: its actions, on these candles."""

    def __init__(self, setup, candles):
        self.setup, self.candles, self.actions, self._now = setup, candles, [], None

    @property
    def now(self):
        if self._now is None or self._now.actions != self.actions:
            self._now = ReplayedSession(self.setup, list(self.actions), self.candles)
        return self._now

    def do(self, action):
        self.actions.append(action)

    def step(self, bars=1):
        self.do(self.now.stepped(bars))

    def order(self, side="buy", **asked):
        self.do(self.now.taken(AskedOrder(side=side, **asked)))

    def told(self):
        """All that a page is told of where the session stands."""
        now = self.now
        return json.dumps(
            [now.now, now.over, now.bars(0), now.standing(), now.fills(), now.trades(), now.notes()], default=str
        )


def traded_day(candles, setup=None):
    """A day with orders of every kind, by chance; yields the session after each action."""
    rng = np.random.default_rng(5)
    session = Session(setup or setup_of(), candles)
    yield session
    while not session.now.over:
        _acted(session, rng)
        yield session
        session.step(int(rng.integers(1, 4)))
        yield session


def _acted(session, rng):
    """Do one thing or nothing: enter, add, change, cancel, move stop and target, close a part or all."""
    now, chance = session.now, rng.random()
    held, rests = now.lots, [one["entry"] for one in now.entries()]
    if chance < 0.5 and abs(held) < 250:  # lots
        way = np.sign(held) or (1 if rng.random() < 0.5 else -1)
        replaced = int(rng.choice(rests)) if rests and (rng.random() < 0.2 or len(rests) == 4) else None
        _ordered(session, rng, way, replaced)
    elif held and chance < 0.6:
        session.do(now.closed(rng.choice([0.25, 0.5]) * abs(now.standing()["position"]) + 0.001))
    elif held and chance < 0.63:
        session.do(now.closed())
    elif held and chance < 0.8:
        way = 1 if held > 0 else -1
        session.do(now.protected(now.price * (1 - way * 0.005), now.price * (1 + way * 0.006)))
    elif rests and chance < 0.84:
        session.do(CancelAction(entry=int(rng.choice(rests))))
    elif chance > 0.99:
        session.do(CancelAction())


def _ordered(session, rng, way, replaced):
    kind = rng.choice(["market", "limit", "stop"])
    price = session.now.price * (1 + way * {"market": 0.0, "limit": -0.001, "stop": 0.001}[kind])
    own = {} if rng.random() < 0.3 else {"stop": price * (1 - way * 0.005), "target": price * (1 + way * 0.006)}
    if kind != "market":
        own |= {"price": price}
    kind = "stop" if kind == "stop" else "limit"
    session.order("buy" if way > 0 else "sell", quantity=0.04, entry=replaced, kind=kind, **own)


def test_what_is_shown_at_a_bar_is_the_same_whatever_comes_after_it():
    """F-86: prices, volume and the very presence of later bars are altered; every answer up to then is the same."""
    candles = walk(BARS, 3, volatility=0.004)
    for number, session in enumerate(traded_day(candles)):
        if number % 10:
            continue
        cut = int(np.searchsorted(candles.ts, session.now.now))
        others = walk(BARS, 77, start=9_000.0)
        names = ("open", "high", "low", "close", "volume")
        altered = {one: np.concatenate([getattr(candles, one)[:cut], getattr(others, one)[cut:]]) for one in names}
        assert Session.told(_with(session, replace(candles, **altered))) == session.told()
        more = {one: getattr(candles, one)[: cut + 10] for one in ("ts", *names)}
        short = _with(session, replace(candles, **more))
        assert short.told() == session.told()
    assert len(session.now.trades()) > 8


def _with(session, candles):
    other = Session(session.setup, candles)
    other.actions = list(session.actions)
    return other


def test_trades_of_a_session_are_those_of_a_backtest_of_its_orders_to_the_last_digit():
    candles = walk(BARS, 4, volatility=0.004)
    *_, session = traded_day(candles)
    now = session.now
    whole = simulate(now.config, candles.between(now.setup.since, now.now))
    assert len(now.recording.fills) > 20
    assert now.recording.fills.tobytes() == whole.recording.fills.tobytes()
    assert now.result.trades.equals(whole.trades)
    assert {one["reason"] for one in now.trades()} >= {"EXIT_SL", "EXIT_TP", BY_HAND}


@pytest.mark.parametrize("participation", [1.0, 0.002])
def test_the_same_orders_at_the_simulated_exchange_give_the_same_fills_to_the_last_digit(participation):
    """The exchange that live bots are tried on is told the same by hand, a minute at a time; partial fills too."""
    rules = {"funding": "constant", "max_participation": participation}
    *_, session = traded_day(walk(BARS, 6, volatility=0.004), setup_of(execution=rules))
    names = ("at", "side", "price", "quantity", "position", "fee", "realised")
    own = [tuple(one[name] for name in names) for one in session.now.fills()]
    done = {type(one) for one in session.actions}
    assert len(own) > 20
    assert done == {StepAction, EntryAction, CancelAction, ProtectAction, CloseAction}
    assert own == _at_the_exchange(session)


class Trader:
    """A person at the simulated exchange, who does by hand what a session's actions say."""

    def __init__(self, book):
        self.book, self.orders, self.number, self.stop, self.target = book, {}, 0, 0, 0
        self.plans = {}  # stop and target of entries that have not been filled

    def place(self, slot, kind, side, price, lots, *, reduces):
        self.withdraw(slot)
        self.number += 1
        name = f"{slot}-{self.number:06d}"  # of equals the smaller name goes first
        order = VenueOrder(
            name, name, "BTCUSDT", int(side), kind, price, lots, reduce_only=reduces, post_only=False, created=0,
            updated=0,
        )  # fmt: skip
        self.orders[slot] = order
        self.book.add(order)

    def rests(self, slot):
        return slot in self.orders and self.orders[slot] in self.book.live

    def withdraw(self, slot):
        if self.rests(slot):
            self.book.remove(self.orders[slot], "Cancelled")

    def act(self, action):
        held = self.book.position
        match action:
            case EntryAction():
                slot, price = ENTRY + action.entry - 1, action.limit or action.trigger
                kind = OrderKind.LIMIT if action.limit else OrderKind.STOP if action.trigger else OrderKind.MARKET
                self.plans[slot] = action.stop, action.target
                self.place(slot, kind, action.side, price, action.lots, reduces=False)
            case CancelAction(entry=None):
                for slot in (CLOSE, *range(ENTRY, STOP)):
                    self.withdraw(slot)
            case CancelAction():
                self.withdraw(ENTRY + action.entry - 1)
            case CloseAction() if held:
                lots = min(action.lots, abs(held)) or abs(held)
                self.place(CLOSE, OrderKind.MARKET, -np.sign(held), 0, lots, reduces=True)
            case ProtectAction() if held:
                self.stop, self.target = action.stop, action.target
                self.protect()

    def protect(self):
        held = self.book.position
        for slot, kind, price in ((STOP, OrderKind.STOP, self.stop), (TARGET, OrderKind.LIMIT, self.target)):
            if not price:
                self.withdraw(slot)
            elif self.rests(slot) and self.orders[slot].side * held < 0:
                order = self.orders[slot]
                self.book.moved(order, price, order.filled + abs(held), 0)
            else:
                self.place(slot, kind, -np.sign(held), price, abs(held), reduces=True)

    def filled(self, trade):
        slot = int(trade.client_order_id.split("-")[0])
        if self.book.position == 0:
            self.stop = self.target = 0
            for one in (CLOSE, STOP, TARGET):
                self.withdraw(one)
            return
        if ENTRY <= slot < ENTRY + ENTRIES:
            stop, target = self.plans.pop(slot, (0, 0))
            self.stop, self.target = stop or self.stop, target or self.target
            for other in range(ENTRY, ENTRY + ENTRIES):
                if self.rests(other) and self.orders[other].side != trade.side:
                    self.withdraw(other)
        self.protect()


def _at_the_exchange(session):
    setup, candles = session.setup, candles_of(session)
    settings = settings_record(session.now.config, every_bar=False, keep_desired_orders=False)
    assert settings.dtype == SETTINGS
    book = Book(setup.instrument, candles, settings, setup.leverage)
    trader, tick, lot = Trader(book), setup.instrument.tick_size, setup.instrument.lot_size
    asked, at = {}, setup.start
    for action in session.actions:
        if isinstance(action, StepAction):
            at += action.bars * MINUTE
        asked.setdefault(at, []).append(action)
    found = []
    for index, ts in enumerate(candles.ts.tolist()):
        for action in asked.get(ts, []):
            trader.act(action)
        for happened in book.minute(index, setup.capital):
            for one in happened:
                if isinstance(one, Trade) and one.kind == "Trade":
                    side, lots = "buy" if one.side > 0 else "sell", (one.lots, book.position)
                    price, *amounts = float(one.price * tick), *(float(each * lot) for each in lots)
                    found.append((one.ts, side, price, *amounts, one.fee, one.realised))
                    trader.filled(one)
    return found


def candles_of(session):
    return session.candles.between(session.setup.since, session.setup.end)


def test_partial_fills_funding_and_fees_are_those_of_the_exchange():
    """A bar fills a tenth of its volume: the entry comes in parts, and the close goes in parts."""
    candles = walk(BARS, 3)
    later = 6 * 60 * MINUTE  # a settlement lies within
    candles = replace(candles, ts=candles.ts + later, volume=np.full(len(candles), 0.5))
    rules = {"max_participation": 0.1, "funding": "constant", "funding_rate": 0.001}
    session = Session(
        setup_of(execution=rules, start=START + later + 30 * MINUTE, end=START + later + BARS * MINUTE), candles
    )
    session.order(quantity=0.2)
    session.step(4)
    entries = session.now.fills()
    assert [one["quantity"] for one in entries] == [0.05, 0.05, 0.05, 0.05]
    session.step(100)
    assert session.now.standing()["funding"] < 0
    session.do(session.now.closed())
    session.step(4)
    assert [one["quantity"] for one in session.now.fills()[4:]] == [0.05, 0.05, 0.05, 0.05]
    (trade,) = session.now.trades()
    assert trade["reason"] == BY_HAND
    assert trade["fees"] == pytest.approx(sum(one["fee"] for one in session.now.fills()))


def test_actions_alone_bring_a_session_back_and_undo_is_one_action_less():
    *_, session = traded_day(walk(BARS, 3, volatility=0.004))
    stored = json.dumps([one.model_dump() for one in session.actions])
    again = _with(session, session.candles)
    again.actions = action_of(json.loads(stored))
    assert again.told() == session.told()
    before = session.told()
    session.do(NoteAction(text="why"))
    assert session.now.notes()[0]["text"] == "why"
    session.actions.pop()
    assert session.told() == before


def test_a_position_is_turned_over_at_one_bar_and_an_order_replaces_the_one_that_is_named():
    session = Session(setup_of(), walk(BARS, 3))
    price = session.now.price
    session.order(price=price * 0.5, quantity=0.1)
    session.order(quantity=0.1, stop=price * 0.9, entry=1)
    assert [one["kind"] for one in session.now.entries()] == ["market"]
    session.step()
    assert session.now.standing()["position"] == 0.1
    with pytest.raises(Misconfigured, match="against the position"):
        session.order("sell", quantity=0.2)
    session.do(session.now.closed(0.05))
    with pytest.raises(Misconfigured, match="against the position"):
        session.order("sell", quantity=0.2)
    session.do(session.now.closed())
    session.order("sell", quantity=0.2)
    session.step()
    assert session.now.standing()["position"] == -0.2
    assert session.now.standing()["stop"] is None, "the stop went with the position that it protected"
    assert [one["side"] for one in session.now.trades()] == ["long", "short"]


def test_a_position_is_added_to_and_left_in_parts_and_every_one_of_these_is_undone():
    session, told = Session(setup_of(), walk(BARS, 3, volatility=0.0005)), []
    price = session.now.price

    def done(act):
        told.append(session.told())
        act()

    done(lambda: session.order(quantity=0.1, stop=price * 0.9, target=price * 1.2))
    done(session.step)
    done(lambda: session.order(quantity=0.05, stop=price * 0.95))
    done(lambda: session.order(price=price * 0.8, quantity=0.02))
    done(lambda: session.order(price=price * 0.7, quantity=0.02, entry=2))
    done(lambda: session.order(price=price * 1.5, kind="stop", quantity=0.02))
    done(session.step)
    standing = session.now.standing()
    assert standing["position"] == 0.15
    assert (standing["stop"], standing["target"]) == (pytest.approx(price * 0.95, abs=1), pytest.approx(price * 1.2))
    assert [(one["entry"], one["kind"]) for one in standing["entries"]] == [(2, "limit"), (3, "stop")]
    done(lambda: session.do(session.now.protected(None, standing["target"])))
    assert (session.now.standing()["stop"], session.now.standing()["target"]) == (None, standing["target"])
    done(lambda: session.do(session.now.closed(0.05)))
    assert session.now.standing()["closing"] == 0.05
    done(session.step)
    assert session.now.standing()["position"] == 0.1
    done(lambda: session.do(CancelAction(entry=3)))
    assert [one["entry"] for one in session.now.entries()] == [2]
    done(lambda: session.do(session.now.closed()))
    done(session.step)
    (trade,) = session.now.trades()
    assert (trade["quantity"], trade["reason"]) == (0.15, BY_HAND)
    while told:
        session.actions.pop()
        assert session.told() == told.pop()


def test_the_first_fill_of_a_stop_entry_withdraws_the_one_the_other_way_and_hands_its_stop_over_once():
    candles = walk(BARS, 3, volatility=0.0005)
    candles = replace(candles, volume=np.full(len(candles), 0.5))
    session = Session(setup_of(execution={"max_participation": 0.1}), candles)
    price = session.now.price
    session.order(price=price * 1.0002, kind="stop", quantity=0.2, stop=price * 0.9)
    session.order("sell", price=price * 0.5, kind="stop", quantity=0.2)
    while not session.now.lots:
        session.step()
    assert [one["side"] for one in session.now.entries()] == ["buy"], "a part of it is still to be filled"
    assert session.now.entries()[0]["kind"] == "market", "it was triggered"
    session.do(session.now.protected(price * 0.8, None))
    session.step(5)
    assert session.now.standing()["position"] == 0.2
    assert session.now.standing()["stop"] == pytest.approx(price * 0.8, abs=1), "moved, it stays where it was moved to"


def test_actions_of_sessions_that_had_one_entry_are_read_as_they_were():
    asked = {"do": "order", "side": 1, "limit": 9, "lots": 5, "stop": 7, "target": 11}
    old = [asked, {"do": "cancel"}, {"do": "close"}]
    entry, cancel, close = action_of(old)
    assert (entry.entry, entry.limit, entry.trigger, cancel.entry, close.lots) == (1, 9, 0, None, 0)


def test_what_makes_no_sense_is_refused_with_the_field():
    session = Session(setup_of(), walk(BARS, 3))
    price = session.now.price
    for field, asked in {
        "stop is": {"quantity": 0.1, "stop": price * 1.1},
        "target is": {"quantity": 0.1, "target": price * 0.9},
        "risk is": {"risk": 0.01},
        "quantity and risk": {},
        "quantity is": {"quantity": 1e-9},
        "the equity carries": {"quantity": 1.0},
        "price is missing": {"quantity": 0.1, "kind": "stop"},
        "price is .* belongs above": {"quantity": 0.1, "kind": "stop", "price": price * 0.9},
        "entry is 2": {"quantity": 0.1, "entry": 2},
    }.items():
        with pytest.raises(Misconfigured, match=field):
            session.order(**asked)
    with pytest.raises(Misconfigured, match="no position"):
        session.now.closed()
    with pytest.raises(Misconfigured, match="spot"):
        Session(setup_of(market="spot", leverage=1), session.candles).order("sell", quantity=0.1)
    for _ in range(ENTRIES):
        session.order(price=price * 0.9, quantity=0.1)
    with pytest.raises(Misconfigured, match="one too many"):
        session.order(price=price * 0.9, quantity=0.1)
    with pytest.raises(Misconfigured, match="with what rests"):
        session.order(price=price * 0.9, quantity=0.4, entry=1)
    session.do(CancelAction())
    session.order(quantity=0.1)
    session.step()
    with pytest.raises(Misconfigured, match=r"quantity is 0.3; give 0.001 to 0.1"):
        session.now.closed(0.3)
    session.step(5000)
    assert session.now.over
    with pytest.raises(Misconfigured, match="at its end"):
        session.step()


def test_blind_dates_move_everything_that_is_shown_and_nothing_else():
    candles, week = walk(BARS, 3), 7 * 1440 * MINUTE
    open_, blind = (Session(setup_of(blind=shift), candles) for shift in (0, -100 * week))
    for one in (open_, blind):
        one.order(quantity=0.1)
        one.step(3)
    assert open_.now.fills()[0]["at"] - blind.now.fills()[0]["at"] == 100 * week
    assert open_.now.standing() == blind.now.standing()
