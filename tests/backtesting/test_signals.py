"""Signals of a file, traded by the simulator's own rules: the next opening, stop and target inside the bar, costs."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest

from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.reports.run_directory import write_run
from backtesting.run import play_single, prepare, simulate
from backtesting.signal_export import export_document, exported_trades, passed_over
from backtesting.signal_file import STRATEGY, TradingCost, cost_of, read_signals, with_costs
from bot.candles import iso
from bot.errors import Misconfigured
from coordinator.config import SimulationRules, load_portfolio, load_single
from strategies.signals import signals_in, table_of
from tests.conftest import MINUTE, START, bars, instrument, play_interpreted, walk

ROW = {"signal_id": "a", "entry_price": 100, "sl_price": 98, "tp_price": 104, "entry_timestamp": iso(START)}
FREE = {"slippage_bps": 0, "funding": "constant", "funding_rate": 0}
PLAIN = {"tick_size": "0.1", "lot_size": "0.001", "maker_fee": "0", "taker_fee": "0", "min_notional": "0"}


def row(name="a", stop=98.0, target=104.0, minute=0, entry=100.0, seconds=0):
    at = START + minute * MINUTE + seconds * 1000
    return {"signal_id": name, "entry_price": entry, "sl_price": stop, "tp_price": target, "entry_timestamp": str(at)}


def played(candles, *rows, execution=None, fields=None, **values):
    config = load_single(
        {
            "strategy": STRATEGY,
            "pair": "BTCUSDT",
            "capital": 10_000,
            "instrument": {**PLAIN, **(fields or {})},
            "execution": {**FREE, **(execution or {})},
            "signals": {"table": table_of(rows)},
            **values,
        }
    )
    return simulate(config, candles)


@pytest.fixture(autouse=True)
def interpreted_loop(monkeypatch):
    play_interpreted(monkeypatch, "signals")


CALM = (100.0, 100.5, 99.5, 100.0)


def first_trade(result):
    return result.trades.row(0, named=True)


def test_an_entry_is_at_the_opening_of_the_next_bar_and_the_target_inside_a_bar():
    result = played(bars(CALM, (100.2, 101.0, 100.0, 100.8), (100.8, 104.5, 100.7, 104.0)), row(seconds=30))
    trade = first_trade(result)
    assert (trade["entry_time"], trade["entry_price"]) == (START + MINUTE, 100.2)
    assert (trade["exit_time"], trade["exit_price"], trade["exit_reason"]) == (START + 2 * MINUTE, 104.0, "EXIT_TP")
    assert trade["qty"] == pytest.approx(50.0)  # a hundredth of the capital is lost two below the close
    assert trade["r_multiple"] == pytest.approx(3.8 / 2.2)


def test_a_stop_is_hit_inside_a_bar_and_before_a_target_of_the_same_bar():
    """The simulator's path: of a position what hurts comes first."""
    result = played(bars(CALM, CALM, (100.0, 105.0, 97.0, 100.0)), row())
    trade = first_trade(result)
    assert (trade["exit_price"], trade["exit_reason"]) == (98.0, "EXIT_SL")


def test_a_gap_beyond_the_stop_is_paid():
    result = played(bars(CALM, CALM, (95.0, 96.0, 94.0, 95.0)), row())
    assert first_trade(result)["exit_price"] == 95.0


def test_a_short_is_the_mirror():
    result = played(bars(CALM, CALM, (100.0, 100.5, 95.0, 95.5)), row(stop=102.0, target=96.0))
    trade = first_trade(result)
    assert (trade["side"], trade["exit_price"], trade["exit_reason"]) == ("short", 96.0, "EXIT_TP")


def test_a_signal_during_a_trade_is_passed_over_and_the_next_one_taken():
    candles = bars(CALM, CALM, CALM, (100.0, 104.5, 99.9, 100.0), CALM, CALM)
    rows = (row("a"), row("b", minute=1), row("c", minute=3), row("d", minute=90), row("e", minute=3, seconds=20))
    result = played(candles, *rows)
    assert exported_trades(result)["signal_id"].to_list() == ["a", "c"]
    reasons = {one["signal_id"]: one["reason"] for one in passed_over(result)}
    assert reasons == {
        "b": "another signal was traded",
        "d": "no candles at its time",
        "e": "another signal was traded",
    }


@pytest.mark.parametrize("price", [97.0, 105.0])
def test_a_signal_whose_stop_or_target_the_price_has_passed_makes_no_trade(price):
    result = played(bars((price, price + 0.5, price - 0.5, price), CALM, CALM), row())
    assert result.trades.is_empty()
    assert "passed" in passed_over(result)[0]["reason"]


def test_before_the_period_and_in_the_middle_of_a_month_signals_need_no_history():
    """A value of a signal is that of its own bar, whatever bars came before."""
    candles = walk(300, seed=5, start=100.0, tick=0.01)
    config = {"strategy": STRATEGY, "pair": "BTCUSDT", "capital": 10_000, "from": iso(START + 100 * MINUTE)}
    price = float(candles.close[150])
    early, late = row("early", minute=20), row("late", price * 0.99, price * 1.01, 150, price)
    result = simulate(
        {**config, "instrument": {**PLAIN, "tick_size": "0.01"}, "signals": {"table": table_of([early, late])}}, candles
    )
    assert exported_trades(result)["signal_id"].to_list() == ["late"]
    assert not [said for said in result.notices if "Inputs" in said]


# Costs


@pytest.mark.parametrize(
    ("text", "ticks", "bps"),
    [("1pip", 10.0, 0.0), ("2 ticks", 2.0, 0.0), ("5bps", 0.0, 5.0), ("0.02 %", 0.0, 2.0), ("0.5 percent", 0.0, 50.0)],
)
def test_costs_are_in_ticks_pips_basis_points_or_per_cent(text, ticks, bps):
    cost = cost_of(text, "slippage")
    assert cost.ticks(instrument(pip_size=Decimal(1))) == ticks
    assert cost.bps == pytest.approx(bps)


def test_a_pip_is_a_tick_where_the_instrument_does_not_say():
    assert TradingCost(1.0, "pip").ticks(instrument()) == 1.0


@pytest.mark.parametrize("text", ["", "1", "pip", "-1pip", "1 furlong", "nan pip", "9999bps", "x" * 300])
def test_an_odd_cost_is_told_in_a_sentence(text):
    with pytest.raises(Misconfigured, match="slippage is") as told:
        cost_of(text, "slippage")
    assert len(str(told.value)) < 300


def test_entry_and_stop_pay_slippage_and_half_of_the_spread_and_the_target_none():
    rules = with_costs(
        SimulationRules(**FREE), instrument(), cost_of("2ticks", "slippage"), cost_of("6ticks", "spread")
    )
    candles = bars(CALM, CALM, (100.0, 104.5, 99.9, 100.0), CALM, CALM, (100.0, 100.5, 97.0, 98.0))
    paid = played(candles, row("a"), row("b", minute=3), execution=rules.model_dump(mode="json"))
    prices = paid.trades.select("entry_price", "exit_price").rows()
    assert prices == [(100.5, 104.0), (100.5, 97.5)]


def test_slippage_of_the_rules_stays_where_only_a_spread_is_given():
    rules = with_costs(SimulationRules(slippage_bps=3.0), instrument(), None, cost_of("2bps", "spread"))
    assert (rules.slippage_bps, rules.slippage_ticks) == (4.0, 0.0)


# Files


def test_csv_of_any_separator_and_json_are_the_same_signals(tmp_path):
    header = list(ROW)
    expected = table_of([ROW])
    for name, text in {
        "a.csv": ",".join(header) + "\n" + ",".join(map(str, ROW.values())) + "\n",
        "b.csv": "\ufeff" + ";".join(header) + ";note\n" + ";".join(map(str, ROW.values())) + ";good\n",
        "c.json": json.dumps([ROW]),
        "d.json": json.dumps({"signals": [ROW]}),
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_signals(tmp_path / name) == expected
    assert signals_in(expected)[0].direction == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sl_price": 101}, "sl_price .* are in no order of a trade"),
        ({"tp_price": 99}, "sl_price .* are in no order of a trade"),
        ({"entry_price": "nan"}, "entry_price is 'nan'"),
        ({"sl_price": "y" * 500}, "sl_price is"),
        ({"tp_price": ""}, "tp_price is missing"),
        ({"entry_timestamp": "soon"}, "entry_timestamp: time 'soon' is no date"),
        ({"signal_id": "a,b"}, "signal_id is 'a,b'"),
    ],
)
def test_an_odd_signal_is_told_with_its_row(change, said):
    with pytest.raises(Misconfigured, match=f"signals, row 1: {said}") as told:
        table_of([{**ROW, **change}])
    assert len(str(told.value)) < 400


def test_signals_of_one_name_none_and_no_file_are_refused(tmp_path):
    with pytest.raises(Misconfigured, match="stands there twice"):
        table_of([ROW, ROW])
    with pytest.raises(Misconfigured, match="there is none"):
        table_of([])
    for name, text in {"a.csv": "x,y\n1,2\n", "b.json": "[1]", "c.json": "[", "d.csv": ""}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(Misconfigured, match="cannot be read"):
            read_signals(tmp_path / name)
    with pytest.raises(Misconfigured, match="is no file"):
        read_signals(tmp_path)
    with pytest.raises(Misconfigured, match=r"signals\.table is empty"):
        simulate({"strategy": STRATEGY, "pair": "BTCUSDT"}, bars(CALM, CALM))


# Export and reproduction


def test_a_run_writes_its_export_and_its_config_plays_the_same(tmp_path):
    candles = bars(*[CALM, CALM, (100.0, 104.5, 99.9, 100.0)] * 20)
    rows = [row(f"s{k}", minute=3 * k) for k in range(20)]
    result = played(candles, *rows)
    folder = write_run(result, tmp_path / "run", samples=5)
    document = json.loads((folder / "export.json").read_text())
    assert list(document)[:16] == [
        *("run_id", "setup_id", "rule_version", "symbol", "timeframe", "period", "trades_count", "wins", "losses"),
        *("winrate", "avg_rr", "max_drawdown", "total_pnl", "trades_by_month", "sample_pngs", "data_snapshot"),
    ]
    assert (document["trades_count"], document["wins"], document["winrate"]) == (20, 20, 100.0)
    assert document["total_pnl"] == pytest.approx(sum(one["pnl"] for one in document["trades"]))
    assert len(document["sample_pngs"]) == 8
    assert all((folder / path).stat().st_size > 2_000 for path in document["sample_pngs"])
    lines = (folder / "export.csv").read_text().splitlines()
    assert lines[0] == "trade_id,signal_id,entry_time,entry_price,exit_time,exit_price,exit_reason,pnl,rr"
    assert len(lines) == 21
    again = simulate(load_single(folder / "config.yaml"), candles)
    assert again.document.run_id == document["run_id"]
    assert again.fills.equals(result.fills)


def test_every_signal_of_a_walk_is_exported_once_as_a_trade_or_with_a_reason():
    candles = walk(4_000, seed=9, start=100.0, tick=0.01, volatility=0.002)
    rng = np.random.default_rng(2)
    rows = []
    for k, minute in enumerate(sorted(rng.choice(3_900, 60, replace=False).tolist())):
        price, direction = float(candles.close[minute]), 1 if rng.random() < 0.5 else -1
        stop, target = price * (1 - direction * 0.004), price * (1 + direction * 0.008)
        rows.append(row(f"s{k}", stop, target, minute, price))
    result = played(candles, *rows, fields={"tick_size": "0.01"})
    document = export_document(result, [])
    named = [one["signal_id"] for one in document["trades"]] + [
        one["signal_id"] for one in document["signals_passed_over"]
    ]
    assert sorted(named) == sorted(one["signal_id"] for one in rows)
    assert len(document["trades"]) > 10
    for one in document["trades"]:
        signal = next(each for each in rows if each["signal_id"] == one["signal_id"])
        assert one["entry_time"] == iso(int(signal["entry_timestamp"]) // MINUTE * MINUTE + MINUTE)


def test_prepared_instruments_know_their_pip():
    made = prepare(
        load_single({"strategy": STRATEGY, "pair": "BTCUSDT", "instrument": {"pip_size": 1}}), bars(CALM, CALM)
    )
    assert made.candles.instrument.pip == 1


@pytest.mark.slow
def test_the_engine_of_several_pairs_gives_the_same_fills_to_the_last_digit(monkeypatch):
    """The loop of one strategy is compiled here, and so is the engine that bots share."""
    monkeypatch.undo()
    candles, rows = walk(20_000, seed=11), []
    for k, minute in enumerate(range(30, 19_000, 170)):
        price, direction = float(candles.close[minute]), 1 if k % 2 else -1
        rows.append(row(f"s{k}", price * (1 - direction * 0.003), price * (1 + direction * 0.005), minute, price))
    values = {"strategy": STRATEGY, "pair": "BTCUSDT", "signals": {"table": table_of(rows)}}
    made = prepare(load_single({**values, "execution": {"slippage_ticks": 3}}), candles)
    alone = play_single(made.config, made.candles)
    pairs = PreparedPortfolio.of({"BTCUSDT": made.candles.candles}, {"BTCUSDT": made.candles.instrument}, {})
    (together,) = PortfolioSimulator(load_portfolio(made.config)).run(pairs).recordings
    assert len(alone.fills) > 100
    for field in alone.fills.dtype.names:
        assert np.array_equal(alone.fills[field], together.fills[field]), field
