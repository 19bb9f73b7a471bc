"""A replay: the same trades as the simulator's and the exchange's own, and nothing of the future."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from backtesting.exchange import SETTINGS
from backtesting.replay import BY_HAND, AskedOrder, CancelAction, NoteAction, ReplayedSession, ReplaySetup, action_of
from backtesting.run import simulate
from backtesting.simulator import settings_record
from bot.errors import Misconfigured
from bot.order import OrderKind
from services.simulated_bybit.book import Book
from services.simulated_bybit.records import Trade, VenueOrder
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
    while not session.now.over and len(session.actions) < 200:
        now, chance = session.now, rng.random()
        price = now.price
        if now.lots == 0 and chance < 0.5:
            way = 1 if rng.random() < 0.5 else -1
            limit = None if rng.random() < 0.5 else price * (1 - way * 0.001)
            entry = limit or price
            session.order(
                "buy" if way > 0 else "sell", price=limit, risk=0.01, stop=entry * (1 - way * 0.004),
                target=entry * (1 + way * 0.004),
            )  # fmt: skip
        elif now.lots and chance < 0.1:
            session.do(now.closed())
        elif now.lots and chance < 0.2:
            way = 1 if now.lots > 0 else -1
            session.do(now.protected(price * (1 - way * 0.002), price * (1 + way * 0.003)))
        elif chance < 0.25:
            session.do(CancelAction())
        yield session
        session.step(int(rng.integers(1, 5)))
        yield session


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


def test_the_same_orders_at_the_simulated_exchange_give_the_same_fills_to_the_last_digit():
    """The exchange that live bots are tried on is told the same by hand, a minute at a time."""
    candles = walk(BARS, 6, volatility=0.004)
    session = Session(setup_of(), candles)
    placed = []  # at which bar's close, and the entry
    while not session.now.over:
        if session.now.lots == 0 and session.now.open_order() is None:
            way, price = (1, -1)[len(placed) % 2], session.now.price
            limit = None if len(placed) % 3 else price * (1 - way * 0.0005)
            entry = limit or price
            session.order(
                "buy" if way > 0 else "sell", price=limit, quantity=0.1, stop=entry * (1 - way * 0.003),
                target=entry * (1 + way * 0.004),
            )  # fmt: skip
            placed.append((session.now.now, session.actions[-1]))
        session.step()
    own = [(one["at"], one["side"], one["price"], one["fee"], one["realised"]) for one in session.now.fills()]
    assert len(own) > 20
    assert own == _at_the_exchange(session, placed)


def _at_the_exchange(session, placed):
    setup, now = session.setup, session.now
    candles = candles_of(session)
    settings = settings_record(now.config, every_bar=False, keep_desired_orders=False)
    assert settings.dtype == SETTINGS
    book = Book(setup.instrument, candles, settings, setup.leverage)
    found, waiting, number, entry = [], list(placed), 0, None

    def order(kind, side, price, lots, reduces):
        nonlocal number
        number += 1
        name = f"{number:06d}"
        return VenueOrder(
            name, name, "BTCUSDT", side, kind, price, lots, reduce_only=reduces, post_only=False, created=0, updated=0
        )

    for index, ts in enumerate(candles.ts.tolist()):
        if waiting and waiting[0][0] == ts:
            entry = waiting.pop(0)[1]
            kind = OrderKind.LIMIT if entry.limit else OrderKind.MARKET
            book.add(order(kind, entry.side, entry.limit, entry.lots, False))
        for happened in book.minute(index, setup.capital):
            for one in happened:
                if not isinstance(one, Trade) or one.kind != "Trade":
                    continue
                side = "buy" if one.side > 0 else "sell"
                price = float(one.price * setup.instrument.tick_size)
                found.append((one.ts, side, price, one.fee, one.realised))
                if book.position == 0:
                    for rests in list(book.live):
                        book.remove(rests, "Cancelled")
                else:
                    book.add(order(OrderKind.STOP, -entry.side, entry.stop, entry.lots, True))
                    book.add(order(OrderKind.LIMIT, -entry.side, entry.target, entry.lots, True))
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


def test_a_position_is_turned_over_at_one_bar_and_an_order_replaces_the_one_that_rests():
    session = Session(setup_of(), walk(BARS, 3))
    price = session.now.price
    session.order(price=price * 0.5, quantity=0.1)
    session.order(quantity=0.1, stop=price * 0.9)
    session.step()
    assert session.now.standing()["position"] == 0.1
    with pytest.raises(Misconfigured, match="against the position"):
        session.order("sell", quantity=0.2)
    session.do(session.now.closed())
    session.order("sell", quantity=0.2)
    session.step()
    assert session.now.standing()["position"] == -0.2
    assert session.now.standing()["stop"] is None, "the stop went with the position that it protected"
    assert [one["side"] for one in session.now.trades()] == ["long", "short"]


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
    }.items():
        with pytest.raises(Misconfigured, match=field):
            session.order(**asked)
    with pytest.raises(Misconfigured, match="no position"):
        session.now.closed()
    with pytest.raises(Misconfigured, match="spot"):
        Session(setup_of(market="spot", leverage=1), session.candles).order("sell", quantity=0.1)
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
