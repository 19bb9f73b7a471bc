"""The simulated exchange, rule by rule, with a strategy that sets what a test tells it to."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import Field

from backtesting.exchange import NOTHING, Outcome, first_reached
from backtesting.funding import FundingHistory
from backtesting.run import BOUNDS, simulate
from backtesting.simulator import PreparedCandles, UniversalSimulator, check_balance
from backtesting.trades import trades_of
from bot.authoring import (
    EXIT_SL,
    LIMIT,
    MARKET,
    SIGNAL,
    STOP,
    WHOLE_POSITION,
    Parameters,
    Strategy,
    enter,
    kernel,
    set_order,
)
from bot.errors import BrokenLedger, Misconfigured
from bot.instrument import Market
from bot.order import SLOT, Liquidity, OrderKind, Side, Signal
from bot.record import new_records
from bot.strategy import PAIR
from coordinator.config import load_config
from tests.conftest import START, bars, instrument, play_interpreted


class Script(Parameters):
    """One entry set at the first close, and a stop and a target once it fills."""

    timeframe: str = "1m"
    warmup_bars: int = 0
    side: int = Field(1, ge=-1, le=1, description="side of the entry")
    kind: int = Field(LIMIT, ge=0, le=2, description="kind of the entry")
    price: int = Field(0, ge=0, description="price of the entry, ticks")
    quantity: int = Field(10, ge=1, description="quantity of the entry, lots")
    post_only: bool = Field(False, description="refuse to take")
    stop: int = Field(0, ge=0, description="price of the stop, ticks; 0 for none")
    target: int = Field(0, ge=0, description="price of the target, ticks; 0 for none")
    again: int = Field(0, ge=0, description="price of a second entry, ticks; 0 for none")
    forced: bool = Field(False, description="leave at market one bar after the entry, by force")


STATE = np.dtype([("desired", "i8"), ("refusals", "i8")])


@kernel
def decide(pair, params, state, slots, event):
    position = pair.ledger.position
    if event.kind == SIGNAL and state.desired == 0:
        state.desired = 1
        slot = enter(pair, slots, 0, params.side, params.kind, params.price, params.quantity, WHOLE_POSITION)
        slot.post_only = params.post_only
    elif event.kind == SIGNAL and params.forced and position != 0:
        set_order(slots, 1, -params.side, MARKET, 0, abs(position), 5, WHOLE_POSITION)
    elif event.kind == 3:
        state.refusals += 1
    elif event.kind == 2 and position != 0:
        if params.again and state.desired == 1:
            state.desired = 2
            enter(pair, slots, 0, params.side, LIMIT, params.again, params.quantity, WHOLE_POSITION)
        set_order(
            slots, 1, -params.side, STOP, params.stop, abs(position) if params.stop else 0, EXIT_SL, WHOLE_POSITION
        )
        set_order(
            slots, 2, -params.side, LIMIT, params.target, abs(position) if params.target else 0, 2, WHOLE_POSITION
        )


SCRIPT = Strategy("script", 1, Script, STATE, slots=lambda p: 3, decide=decide)
HERE = f"{__name__}:SCRIPT"
TEN = instrument("1", "1", maker_fee="0.001", taker_fee="0.002", min_notional=0)
FLAT = (100.0, 100.0, 100.0, 100.0)


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    """Play what the tests make up without the compiler: a few bars each."""
    play_interpreted(monkeypatch, "script", "restless")


def play(
    *rows,
    traded=TEN,
    volume=1000.0,
    capital=10_000.0,
    leverage=1,
    rules=None,
    market=Market.LINEAR,
    history=None,
    **desired_orders,
):
    execution = {"slippage_bps": 0, "funding_rate": 0, "path": "nearest", **(rules or {})}
    given = {"strategy": HERE, "pair": "X1", "capital": capital, "leverage": leverage, "market": market}
    config = load_config({**given, "execution": execution, "script": desired_orders})
    return UniversalSimulator(config).run(PreparedCandles.of(bars(FLAT, *rows, volume=volume), traded, history))


def fills(recording):
    """(bar, price, signed lots, who waited) of every fill."""
    return [
        (int(f["bar"]), int(f["price"]), int(f["side"] * f["quantity"]), Liquidity(int(f["liquidity"])).name.lower())
        for f in recording.fills
    ]


# Limit orders.


def test_f49_a_limit_fills_when_the_price_goes_through_it_by_a_tick():
    touched, passed = (100.0, 100.0, 95.0, 98.0), (98.0, 98.0, 94.0, 95.0)
    assert fills(play(touched, passed, price=95)) == [(2, 95, 10, "maker")]


def test_with_the_touch_rule_it_fills_when_reached():
    touched = (100.0, 100.0, 95.0, 98.0)
    assert fills(play(touched, price=95, rules={"fill_rule": "touch"})) == [(1, 95, 10, "maker")]


def test_f49_a_gap_fills_a_resting_limit_at_the_open():
    assert fills(play((100.0, 100.0, 99.0, 99.0), (90.0, 92.0, 90.0, 91.0), price=95)) == [(2, 90, 10, "maker")]


def test_f17_an_opening_off_the_grid_fills_a_limit_at_a_whole_tick():
    """The rest of a tick rounds against the order: 90.4 buys at 91, never beyond the limit."""
    recording = play((100.0, 100.0, 99.0, 99.0), (90.4, 92.0, 90.0, 91.0), price=95)
    assert fills(recording) == [(2, 91, 10, "maker")]


def test_f49_a_limit_that_crosses_as_it_is_placed_is_a_taker_at_the_next_price():
    recording = play((99.0, 101.0, 99.0, 100.0), price=105)
    assert fills(recording) == [(1, 99, 10, "taker")]
    assert recording.fills["fee"][0] == pytest.approx(99 * 10 * 0.002)


def test_a_crossing_limit_whose_price_has_gone_rests():
    assert fills(play((110.0, 111.0, 109.0, 110.0), (106.0, 106.0, 103.0, 104.0), price=105)) == [(2, 105, 10, "maker")]


def test_post_only_that_would_cross_is_refused_and_the_strategy_told():
    """F-48: an order that fails is an event."""
    recording = play((99.0, 101.0, 99.0, 100.0), price=105, post_only=True)
    assert fills(recording) == []
    assert (recording.refused, recording.state.refusals) == (1, 1)


def test_a_sell_limit_is_the_mirror():
    assert fills(play((100.0, 105.0, 100.0, 101.0), (101.0, 106.0, 101.0, 102.0), side=-1, price=105)) == [
        (2, 105, -10, "maker")
    ]


# Market orders, stops.


def test_f29_a_decision_at_a_close_trades_at_the_next_open():
    assert fills(play((103.0, 104.0, 102.0, 103.0), kind=MARKET)) == [(1, 103, 10, "taker")]


def test_fill_policy_close_trades_at_the_close_it_was_decided_on():
    recording = play((103.0, 104.0, 102.0, 103.0), kind=MARKET, rules={"fill_policy": "close"})
    assert fills(recording) == [(0, 100, 10, "taker")]


def test_f47_nothing_is_filled_on_the_close_of_the_last_bar():
    assert fills(play(kind=MARKET, rules={"fill_policy": "close"})) == []


def test_slippage_is_against_the_taker_and_whole():
    recording = play((1000.0, 1000.0, 1000.0, 1000.0), kind=MARKET, rules={"slippage_bps": 15}, capital=1e5)
    assert fills(recording) == [(1, 1002, 10, "taker")]
    assert recording.pair.ledger.slippage == 20.0


def test_slippage_by_the_share_of_the_volume():
    recording = play((1000.0,) * 4, kind=MARKET, volume=100.0, rules={"slippage_impact": 0.1}, capital=1e5)
    assert fills(recording) == [(1, 1010, 10, "taker")]


def test_a_forced_exit_pays_the_penalty():
    rules = {"forced_exit_bps": 100}
    recording = play((1000.0,) * 4, (1000.0,) * 4, kind=MARKET, forced=True, rules=rules, capital=1e5)
    assert fills(recording)[1] == (2, 990, -10, "taker")


def test_a_stop_sells_at_its_trigger_and_pays_slippage():
    recording = play((100.0,) * 4, (100.0, 100.0, 89.0, 92.0), kind=MARKET, stop=90, rules={"slippage_bps": 100})
    assert fills(recording)[1] == (2, 89, -10, "taker")


def test_f49_a_gap_fills_a_stop_at_the_open():
    assert fills(play((100.0,) * 4, (80.0, 85.0, 80.0, 84.0), kind=MARKET, stop=90))[1] == (2, 80, -10, "taker")


def test_an_answer_to_a_fill_joins_the_rest_of_the_path():
    """F-48: Bought on the way down at 95, stopped at 92 in the same fall; or sold at 103 on the way back up."""
    bar = (100.0, 106.0, 94.0, 105.0)
    assert fills(play(bar, price=95, target=103)) == [(1, 95, 10, "maker"), (1, 103, -10, "maker")]
    bar = (100.0, 112.0, 91.0, 111.0)
    assert fills(play(bar, price=95, stop=92, target=103)) == [(1, 95, 10, "maker"), (1, 92, -10, "taker")]


def test_the_adverse_path_visits_first_what_hurts():
    """Long at the bar's start: the stop is met before the target, though the high is nearer to the open."""
    bar = (100.0, 104.0, 80.0, 101.0)
    both = {"kind": MARKET, "stop": 90, "target": 103}
    assert fills(play(FLAT, bar, **both))[1] == (2, 103, -10, "maker")
    assert fills(play(FLAT, bar, **both, rules={"path": "adverse"}))[1] == (2, 90, -10, "taker")


def test_of_a_stop_and_a_limit_at_one_price_the_stop_goes_first():
    bar = (100.0, 100.0, 89.0, 90.0)
    recording = play(FLAT, bar, kind=MARKET, stop=90, again=90, rules={"fill_rule": "touch"})
    assert fills(recording)[1:3] == [(2, 90, -10, "taker"), (2, 90, 10, "maker")]


# Volume and money.


def test_f49_no_volume_no_fill():
    assert fills(play((90.0, 95.0, 80.0, 92.0), price=95, volume=0.0)) == []


def test_participation_fills_part_now_and_the_rest_later():
    falling = [(94.0 - i, 94.0 - i, 93.0 - i, 93.0 - i) for i in range(4)]
    recording = play(*falling, price=95, volume=40.0, rules={"max_participation": 0.1})
    assert [(bar, lots) for bar, _, lots, _ in fills(recording)] == [(1, 4), (2, 4), (3, 2)]
    assert set(recording.fills["generation"].tolist()) == {1}


def test_a_triggered_stop_goes_on_at_the_market():
    rules = {"max_participation": 0.1}
    recording = play(
        FLAT,
        (100.0, 100.0, 90.0, 95.0),
        (96.0, 97.0, 95.0, 96.0),
        kind=MARKET,
        stop=92,
        volume=60.0,
        rules=rules,
        quantity=6,
    )
    assert fills(recording) == [(1, 100, 6, "taker"), (2, 92, -6, "taker")]
    recording = play(
        FLAT, FLAT, (100.0, 100.0, 90.0, 95.0), (96.0, 97.0, 95.0, 96.0), kind=MARKET, stop=92, volume=60.0, rules=rules
    )
    assert fills(recording)[2:] == [(3, 92, -6, "taker"), (4, 96, -4, "taker")]


def test_f46_spot_never_spends_more_than_it_has():
    spot = instrument("1", "1", market=Market.SPOT, maker_fee="0.001", taker_fee="0.001", min_notional=0)
    kinds = {"traded": spot, "market": Market.SPOT, "kind": MARKET}
    assert fills(play(FLAT, capital=1000.0, **kinds)) == []
    assert fills(play(FLAT, capital=1001.0, **kinds)) == [(1, 100, 10, "taker")]


def test_f15_spot_sells_only_what_it_holds():
    spot = instrument("1", "1", market=Market.SPOT, min_notional=0)
    assert fills(play(FLAT, FLAT, traded=spot, market=Market.SPOT, side=-1, kind=MARKET)) == []


def test_linear_needs_its_margin():
    assert play(FLAT, capital=999.0, kind=MARKET).refused == 1
    assert len(play(FLAT, capital=999.0, leverage=2, kind=MARKET).fills) == 1


def test_funding_is_paid_by_longs_every_eight_hours():
    flat = [FLAT] * (8 * 60 + 5)
    recording = play(*flat, kind=MARKET, rules={"funding_rate": 0.001})
    assert recording.pair.ledger.funding == pytest.approx(-10 * 100 * 0.001)
    recording = play(*flat, kind=MARKET, side=-1, rules={"funding_rate": 0.001})
    assert recording.pair.ledger.funding == pytest.approx(10 * 100 * 0.001)


@pytest.mark.parametrize("side", [1, -1])
def test_funding_of_a_history_is_paid_when_it_was_settled(side):
    """Two on the bar of hour 1, a negative one, hour 5; then the constant rate, after eight hours without one."""
    ts = START + 30_000 * np.array([0, 119, 120, 240, 600])
    rates = np.array([0.5, 0.0002, 0.001, -0.003, 0.0005])
    history = FundingHistory(ts, rates)
    recording = play(*[FLAT] * (16 * 60 + 5), kind=MARKET, side=side, rules={"funding_rate": 0.01}, history=history)
    assert recording.pair.ledger.funding == pytest.approx(-side * 10 * 100 * (0.0002 + 0.001 - 0.003 + 0.0005 + 0.01))
    (trade,) = trades_of(recording)
    assert trade["funding"] == pytest.approx(recording.pair.ledger.funding)


def test_f44_liquidation_ends_the_run_with_nothing_left_and_no_debt():
    recording = play(FLAT, (100.0, 100.0, 50.0, 60.0), FLAT, kind=MARKET, leverage=10, capital=110.0)
    assert recording.outcome is Outcome.LIQUIDATED
    assert Signal(int(recording.fills["signal"][-1])) is Signal.EXIT_EMERGENCY
    assert recording.equity()[-1] == pytest.approx(0.0, abs=1e-9)
    assert recording.bars == 3


def test_f44_a_gap_beyond_the_liquidation_price_leaves_no_debt_either():
    recording = play(FLAT, (20.0, 20.0, 20.0, 20.0), kind=MARKET, leverage=10, capital=110.0)
    assert recording.equity()[-1] == pytest.approx(0.0, abs=1e-9)


def test_a_short_is_liquidated_above():
    recording = play(FLAT, (100.0, 130.0, 100.0, 120.0), kind=MARKET, side=-1, leverage=10, capital=110.0)
    assert recording.outcome is Outcome.LIQUIDATED
    assert recording.fills["price"][-1] < 112


def test_f30_there_is_no_default_price():
    """The first bar sets the price: a market at 0.00002 and one at 45,000 start alike."""
    for price in (0.00002, 45_000.0):
        row = (price,) * 4
        traded = instrument(str(price), "1", min_notional=0)
        recording = play_rows([row] * 3, traded, price * 1000)
        assert [int(f["price"]) for f in recording.fills] == [1]


def play_rows(rows, traded, capital):
    config = load_config(
        {
            "strategy": HERE,
            "pair": "X1",
            "capital": capital,
            "script": {"kind": MARKET},
            "execution": {"slippage_bps": 0},
        }
    )
    return UniversalSimulator(config).run(PreparedCandles.of(bars(*rows), traded))


# The run as a whole.


def test_a_broken_ledger_is_not_reported_but_raised():
    recording = play(FLAT, kind=MARKET)
    recording.pair.ledger.cash += 1.0
    with pytest.raises(BrokenLedger, match="differs by"):
        check_balance(recording)


@kernel
def answer_without_end(pair, params, state, slots, event):
    if event.kind in (SIGNAL, 2):
        enter(pair, slots, 0, 1 if pair.ledger.position <= 0 else -1, MARKET, 0, 10, WHOLE_POSITION)


RESTLESS = Strategy("restless", 1, Script, STATE, slots=lambda p: 1, decide=answer_without_end)


def test_a_strategy_that_answers_itself_without_end_is_stopped_with_a_sentence():
    config = load_config({"strategy": f"{__name__}:RESTLESS", "pair": "X1"})
    with pytest.raises(Misconfigured, match="fills inside the bar"):
        UniversalSimulator(config).run(PreparedCandles.of(bars(FLAT, FLAT, FLAT), TEN))


def test_a_bar_may_fill_more_than_the_list_of_fills_had_room_for():
    """A hundred cells bought and sold in one violent bar after another."""
    rows = [(50_000.0, 50_050.0, 49_950.0, 50_000.0)] * 30
    rows += [(50_000.0, 60_000.0, 41_000.0, 50_000.0), (50_000.0, 59_000.0, 42_000.0, 50_000.0)] * 40
    section = {"levels": 100, "lower": 42_000, "upper": 58_000, "timeframe": "5m", "warmup_bars": 2}
    loose = {"stop_loss": 0.9, "max_drawdown": 1.0, "risk_budget": 1.0, "trailing": "off"}
    config = load_config({"strategy": "grid", "pair": "BTCUSDT", "capital": 1e6, "grid": {**section, **loose}})
    recording = UniversalSimulator(config).run(PreparedCandles.of(bars(*rows, volume=1e6), instrument()))
    assert len(recording.fills) > 4000


def test_the_bounds_enclose_different_rules():
    """F-49, F-85: the worse of both is what a run reports unless told otherwise."""
    assert BOUNDS["pessimistic"] != BOUNDS["optimistic"]
    from tests.conftest import walk

    coarse = walk(6000, seed=3, tick=25.0)
    given = {
        "strategy": "grid",
        "pair": "BTCUSDT",
        "instrument": {"tick_size": 25},
        "grid": {"preset": "classic", "warmup_bars": 20},
    }
    result = simulate(given, coarse, bounds=True)
    assert result.bounds is not None
    assert result.bounds["optimistic"].fills != result.bounds["pessimistic"].fills
    assert result.bounds["pessimistic"].total_profit == result.metrics.total_profit


def crossed():
    """A market order, a limit buy at 100 that crossed, and a limit sell that only reduces and has nothing to."""
    pair, slots = new_records(PAIR, 1)[0], new_records(SLOT, 3)
    pair["instrument"] = instrument("1", "1").record(1.0)
    set_order(slots, 0, Side.BUY, OrderKind.MARKET, 0, 1, Signal.ENTRY, 0)
    set_order(slots, 1, Side.BUY, OrderKind.LIMIT, 100, 1, Signal.ENTRY, 1)
    set_order(slots, 2, Side.SELL, OrderKind.LIMIT, 99, 1, Signal.EXIT_TP, 2)
    slots["crossing"] = [False, True, True]
    return pair, slots


@pytest.mark.parametrize("filling", [True, False])
@pytest.mark.parametrize(("x", "crossing"), [(100.0, True), (101.0, False)])
def test_a_crossing_limit_rests_once_the_price_has_left_it_though_others_go_first_or_nothing_may_fill(
    filling, x, crossing
):
    pair, slots = crossed()
    assert first_reached(pair, slots, filling, 1.0, x, x) == ((0, x) if filling else (NOTHING, x))
    assert bool(slots[1].crossing) is crossing
    first_reached(pair, slots, filling, 1.0, 104.0, 104.0)
    assert not slots[1].crossing
    assert slots[2].crossing, "a sell at 99 is still allowed at 104"
    first_reached(pair, slots, filling, 1.0, 98.0, 98.0)
    assert not slots[2].crossing
