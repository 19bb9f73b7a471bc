"""Rules as a strategy: directions, sizings with their accounts, exits, presets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtesting.run import simulate
from bot.errors import Misconfigured
from bot.inputs import SHORT_BLOCK
from bot.instrument import Market
from bot.order import Signal
from coordinator.config import load_config
from services.runtime.config import load_bot
from tests.backtesting.test_one_engine import CALM, WILD, agree, both, compared
from tests.conftest import START, instrument, walk

# Prices swing by several per cent within hours, so that everything happens.
CANDLES = walk(20 * 1440, seed=11, volatility=0.002)
OFTEN = {"indicator": "RSI", "timeperiod": 3, "long_below": 35, "short_above": 65}


def config(more=None, **section):
    section = {"when": [OFTEN], "timeframe": "15m", **section}
    return {"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": section, **(more or {})}


def run(more=None, **section):
    return simulate(config(more, **section), CANDLES)


CLOSE = {"execution": {"preset": "close_fill"}}
FINE = {**CLOSE, "instrument": {"lot_size": "0.000001"}}  # so that rounding to lots is nothing


def positions(result):
    return np.unique(np.sign(result.recording.fills["position"])).tolist()


@pytest.mark.parametrize(
    ("direction", "held"), [("long_only", [0, 1]), ("short_only", [-1, 0]), ("long_short", [-1, 0, 1])]
)
def test_directions(direction, held):
    result = run(direction=direction)
    assert positions(result) == held and len(result.fills) > 20
    assert "Short" not in " ".join(result.notices)


def test_a_reversal_closes_and_opens_on_the_same_bar_and_exit_comes_first():
    for more in ({}, CLOSE):
        fills = run(more, direction="long_short").recording.fills
        leaving = np.flatnonzero((fills["position"] == 0) & (fills["ts"] < fills["ts"][-1]))
        opened = fills[leaving + 1]
        turned = opened["ts"] == fills["ts"][leaving]
        assert turned.sum() > 10
        assert (opened["side"] == fills["side"][leaving])[turned].all()
        assert (opened["signal"][turned] == Signal.ENTRY).all()


def test_without_reinvesting_an_entry_never_uses_more_than_the_capital():
    result = run({"reinvest": False}, direction="long_short", sizing="compound")
    entries = result.recording.fills[result.recording.fills["signal"] == Signal.ENTRY]
    assert (entries["price"] * 0.1 * entries["quantity"] * 0.001).max() <= 10_000


def notionals(result):
    fills = result.recording.fills
    tick = result.recording.prepared.instrument.tick_value
    return [float(one["price"] * one["quantity"] * tick) for one in fills if one["signal"] == Signal.ENTRY]


def profits(result):
    return result.trades.filter(result.trades["exit_time"].is_not_null())["pnl"].to_list()


def of_money(money):
    """Notional of an entry that uses this money, fees of 0.1 % and a reserve of 0.2 %."""
    return money * 0.998 / 1.002


@pytest.mark.parametrize(("sizing", "quote"), [("all_in", None), ("fixed_quote", 2000.0), ("compound", 3000.0)])
def test_sizings_follow_their_accounts(sizing, quote):
    result = run(FINE, direction="long_short", sizing=sizing, quote=quote, stop="3%")
    won = np.concatenate(([0.0], np.cumsum(profits(result))))
    money = {"all_in": 10_000 + won, "fixed_quote": np.full(len(won), 2000.0), "compound": 3000.0 + won}[sizing]
    found = notionals(result)
    assert len(found) > 40
    for number, size in enumerate(found):
        assert size == pytest.approx(of_money(min(money[number], 10_000 + won[number])), rel=2e-3)


def test_locked_profit_is_never_used_again():
    result = run(
        FINE, direction="long_short", sizing="compound_profit_lock", quote=3000.0, safe_profit_percent=40, target="2%"
    )
    won, safe = 0.0, 0.0
    for profit, size in zip([0.0, *profits(result)], notionals(result), strict=False):
        won, safe = won + profit, safe + max(profit, 0.0) * 0.4
        assert size == pytest.approx(of_money(min(3000.0 + won - safe, 10_000 + won - safe)), rel=2e-3)
    assert safe > 100 and float(result.recording.state.safe) == pytest.approx(safe, rel=1e-6)


def test_stops_and_targets_rest_where_any_price_sets_them_off():
    result = run(stop="1%", target="1.5%")
    trades = result.trades.filter(result.trades["exit_time"].is_not_null())
    reasons = set(trades["exit_reason"])
    assert {"EXIT_SL", "EXIT_TP"} <= {one.upper() for one in reasons}
    assert trades["pnl_pct"].min() > -1.3
    kinds = {(int(one["slot"]), int(one["kind"])) for one in result.recording.desired_orders}
    assert {(1, 1), (2, 0)} <= kinds


def test_a_close_that_reaches_stop_or_target_leaves_at_that_close():
    result = run(CLOSE, stop="1%", target="1.5%", trigger="close")
    fills, candles = result.recording.fills, CANDLES
    ends = (fills["ts"] + 60_000) % (15 * 60_000) == 0
    assert ends.all() and len(fills) > 20
    close = dict(zip(candles.ts.tolist(), candles.close.tolist(), strict=True))
    for one in fills:
        assert abs(one["price"] * 0.1 / close[int(one["ts"])] - 1) < 0.0002


def test_a_position_without_a_stop_has_the_protective_one():
    shown = run(direction="long_only").recording.desired_orders
    assert 4 in shown["slot"] and (shown["price"][shown["slot"] == 4] > 0).any()


def test_conflicting_signals_are_counted_and_nothing_is_done():
    always = [{"indicator": "SMA", "timeperiod": 5}, {"indicator": "SMA", "timeperiod": 5, "invert": True}]
    result = run(when=always, combine="any")
    assert len(result.fills) == 0
    bars = len(result.recording.prepared.rollup(15 * 60_000).bars)
    assert 0 < result.document.counts["conflicting_signals"] <= bars


def test_short_on_spot_is_synthetic_and_said():
    result = run({"market": "spot"}, direction="long_short")
    assert positions(result) == [-1, 0, 1] and result.document.market == "spot"
    assert "Short positions on spot are synthetic: they cannot be traded live." in result.notices
    assert float(result.recording.pair.ledger.funding) == 0.0
    assert positions(run({"market": "spot"})) == [0, 1]


@pytest.mark.parametrize(("market", "fee"), [("spot", 0.00075), ("linear", 0.001)])
def test_the_preset_close_fill(market, fee):
    result = run({**CLOSE, "market": market})
    fills, worth = result.recording.fills, result.recording.prepared.instrument.tick_value
    np.testing.assert_allclose(fills["fee"], fills["price"] * fills["quantity"] * worth * fee, rtol=1e-12)
    assert result.document.execution["preset"] == "close_fill" and result.document.execution["slippage_bps"] == 1.0
    assert any(one.startswith("Preset close_fill: decisions and fills on the same close") for one in result.notices)
    assert any("cannot be traded live" in one for one in result.notices)


def test_its_own_document_gives_the_same_run():
    first = run(CLOSE, when=[OFTEN, {"indicator": "ADX"}], combine={"at_least": 2}, direction="long_short")
    again = simulate(load_config(first.config.document()), CANDLES)
    assert again.document.run_id == first.document.run_id and len(first.fills) > 0
    assert again.recording.fills.tolist() == first.recording.fills.tolist()


sections = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["long_only", "short_only", "long_short"]),
        "sizing": st.sampled_from(["all_in", "compound", "compound_profit_lock"]),
        "stop": st.sampled_from([None, 0.004, 0.03]),
        "target": st.sampled_from([None, 0.006, 0.05]),
        "trigger": st.sampled_from(["close", "intrabar"]),
        "when": st.sampled_from([[OFTEN], [OFTEN, {"indicator": "ADX", "long_above": 20}], [{"indicator": "MACD"}]]),
        **{name: st.sampled_from(["market", "twap"]) for name in ("enter_by", "leave_by")},
        "twap_slices": st.integers(2, 9),
        "twap_minutes": st.integers(9, 90),
        "twap_limit": st.sampled_from([None, 0.0, 0.002]),
    }
)
BEFORE_A_BLOCK = START // SHORT_BLOCK * SHORT_BLOCK + SHORT_BLOCK - 28 * 3_600_000  # so that all inputs have values
policies = st.fixed_dictionaries(
    {
        "fill_policy": st.sampled_from(["next_open", "close"]),
        "path": st.sampled_from(["adverse", "nearest"]),
        "max_participation": st.sampled_from([1.0, 0.0005]),
    }
)


@pytest.mark.slow
@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(section=sections, execution=policies, world=st.sampled_from([CALM, WILD]))
def test_the_fast_loop_is_the_engine(section, execution, world):
    """F-80."""
    if "twap" not in (section["enter_by"], section["leave_by"]):
        section = {name: value for name, value in section.items() if not name.startswith("twap")}
    fast = compared("rules", {**section, "timeframe": "5m"}, execution, world, start=BEFORE_A_BLOCK)
    assert len(fast.fills) > 0


@pytest.mark.slow
def test_the_engine_trades_rules_as_the_fast_loop_does():
    late = {"from": int(CANDLES.ts[5000])}  # what is only warm-up has no capital yet
    fast, played = both(CANDLES, instrument(), config(late, direction="long_short", stop=0.01, trigger="close"))
    agree(fast, played)
    assert len(fast.fills) > 20


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"when": [{"indicator": "RSY"}]}, "rules.when[0]: indicator 'RSY' is unknown; did you mean 'RSI'."),
        ({"when": []}, "there is no condition"),
        ({"combine": {"at_least": 3}}, "which can never be true"),
        ({"sizing": "fixed_quote"}, "quote is missing"),
        ({"direction": "short_only", "target": 1.5}, "no fall can reach"),
        ({"direction": "both"}, "direction"),
        ({"target": 0.001}, "rules.target is 0.001 but a round trip costs"),
        ({"stop": "0.05%"}, "rules.min_stop_costs asks for"),
        ({"quote": 1.0}, "rules.quote 1 is under the venue's smallest order"),
    ],
)
def test_what_cannot_work_is_one_sentence(section, sentence):
    with pytest.raises(Misconfigured) as error:
        run(**section)
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"execution": {"fill_policy": "close"}}, "this cannot be traded live; set next_open"),
        ({"market": "spot"}, "rules.direction is long_short, but spot cannot be sold short live"),
    ],
)
def test_what_is_only_simulated_is_refused_live(tmp_path, more, sentence):
    bot = {"name": "house", "environment": "venue", "address": "http://127.0.0.1:1", "data_dir": str(tmp_path)}
    values = {**config(more, direction="long_short"), "bot": bot}
    values["pairs"] = [values.pop("pair")]
    path = tmp_path / "bot.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(Misconfigured) as error:
        load_bot(path)
    assert sentence in str(error.value)
    path.write_text(yaml.safe_dump({**values, "execution": {}, "market": "linear"}))
    assert load_bot(path)[1].market is Market.LINEAR


def test_a_route_of_auto_may_be_rules():
    values = {
        "strategy": "auto",
        "pairs": ["BTCUSDT"],
        "auto": {"routes": {"bull_trend": "rules"}},
        "rules": {"when": [OFTEN]},
    }
    assert load_config(values).algorithm.roster.names == ("grid", "dca", "trend", "rules")
