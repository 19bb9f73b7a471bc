"""Each planted fault is found by exactly its check; a sound run passes. Labels, samples, and how a report ends."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from backtesting.validation import (
    QualityReport,
    QualityStatus,
    RunTables,
    ValidationCriteria,
    figures_of,
    sampled_trades,
    samples_outcome,
)
from backtesting.validation_checks import CHECKS, examined
from backtesting.zone_labels import agreement, labels_of
from bot.errors import Misconfigured
from bot.times import HOUR
from filters.structure import Fact
from services.market_data.synth import gapped_schedule, generate, known_zones
from tests.conftest import MINUTE, START

BARS, COUNT = 2_000, 30


def sound() -> RunTables:
    """A run of thirty trades, every other one lost, of candles that they agree with."""
    ts = START + MINUTE * np.arange(BARS)
    candles = pl.DataFrame({"pair": ["BTCUSDT"] * BARS, "ts": ts}).with_columns(
        open=pl.lit(100.0), high=pl.lit(106.0), low=pl.lit(98.0), close=pl.lit(100.0), volume=pl.lit(50.0)
    )
    entries = START + MINUTE * (10 + 60 * np.arange(COUNT))
    won = np.arange(COUNT) % 5 < 3
    leave = np.where(won, 106.0, 98.0)
    trades = pl.DataFrame(
        {
            "trade_id": np.arange(1, COUNT + 1),
            "pair": ["BTCUSDT"] * COUNT,
            "side": ["long"] * COUNT,
            "entry_time": entries,
            "entry_price": np.full(COUNT, 100.0),
            "exit_time": entries + 20 * MINUTE,
            "exit_price": leave,
            "qty": np.ones(COUNT),
            "exit_reason": np.where(won, "EXIT_TP", "EXIT_SL"),
            "pnl": leave - 100.0 - 0.1,
            "fees": np.full(COUNT, 0.1),
            "r_multiple": np.where(won, 2.95, -1.05),
        }
    )
    fills = pl.concat(
        trades.select("pair", ts=at, slot=0, generation="trade_id", side=pl.lit(side), price=price, qty="qty")
        for at, side, price in (("entry_time", "buy", "entry_price"), ("exit_time", "sell", "exit_price"))
    ).sort("ts")
    paid = fills.select(pl.col("qty") * pl.col("price") * (pl.col("side") == "sell").cast(pl.Float64))
    equity = pl.DataFrame({"ts": ts, "equity": np.linspace(10_000.0, 10_000.0 + float(paid.sum().item()) / 100, BARS)})
    end = START + BARS * MINUTE
    return RunTables("0123456789ab", START, end, trades, fills, equity, None, candles, {"BTCUSDT": 0.1}, 0.0001)


LENIENT = ValidationCriteria(average_r=(1.0, 2.5))


def changed(run, **columns):
    return replace(run, trades=run.trades.with_columns(**columns))


def first(name, value, count=1):
    return pl.when(pl.int_range(pl.len()) < count).then(value).otherwise(pl.col(name)).alias(name)


def twice(run):
    return replace(run, trades=pl.concat([run.trades, run.trades[3:4].with_columns(trade_id=pl.lit(99, pl.Int64))]))


def without_volume(run):
    at = int(run.fills["ts"][5])
    quiet = pl.when(pl.col("ts") == at).then(0.0).otherwise(pl.col("volume"))
    return replace(run, candles=run.candles.with_columns(volume=quiet))


def far_price(run):
    return replace(run, fills=run.fills.with_columns(first("price", 107.0)))


PLANTED = {
    "duplicate_trades": twice,
    "impossible_timestamps": lambda run: changed(run, exit_time=first("exit_time", pl.col("entry_time") - MINUTE)),
    "fills_without_volume": without_volume,
    "prices_outside_bars": far_price,
    "vanishes_with_doubled_fees": lambda run: changed(run, fees=pl.lit(run.profit / COUNT * 1.01)),
    "all_exits_by_stop": lambda run: changed(run, exit_reason=pl.lit("EXIT_SL")),
    "trades_of_one_bar": lambda run: changed(run, exit_time=first("exit_time", pl.col("entry_time"), 7)),
    "one_trade_carries": lambda run: changed(run, pnl=first("pnl", 500.0)),
    "anomalies": lambda run: changed(run, qty=first("qty", 0.0)),
}


def found_by(run):
    return [one.name for one in examined(run, LENIENT).outcomes if one.status is not QualityStatus.PASS]


def test_a_sound_run_passes():
    report = examined(sound(), LENIENT)
    assert (report.status, report.issues) == (QualityStatus.PASS, [])
    document = report.document()
    assert list(document) == ["run_id", "qa_status", "checks_performed", "issues_found", "visual_check_url"]
    assert document["qa_status"] == "pass"
    assert set(PLANTED) < set(document["checks_performed"])


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_by_its_check_alone(fault):
    assert found_by(PLANTED[fault](sound())) == [fault]
    report = examined(PLANTED[fault](sound()), LENIENT)
    assert report.status is {one.name: one.found for one in CHECKS}[fault]
    assert report.document()["issues_found"][0]["check"] == fault


def test_every_check_of_the_registry_has_a_planted_fault():
    assert {one.name for one in CHECKS} == set(PLANTED)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda run: changed(run, exit_time=first("exit_time", run.end + MINUTE)),
        lambda run: changed(run, entry_time=first("entry_time", pl.col("entry_time") + 1)),
        lambda run: replace(run, fills=run.fills.reverse()),
        lambda run: replace(run, equity=run.equity.with_columns(first("ts", START + MINUTE))),
    ],
)
def test_times_outside_between_bars_or_backwards_are_impossible(damaged):
    assert found_by(damaged(sound())) == ["impossible_timestamps"]


def test_equal_trades_that_own_fills_opened_are_no_duplicates():
    """Cells of a grid that are bought at the start, at the market, leave together."""
    run = sound()
    again = run.trades[3:4].with_columns(trade_id=pl.lit(99, pl.Int64))
    opened = run.fills.filter(pl.col("ts") == again["entry_time"][0]).with_columns(slot=pl.lit(1, pl.Int32))
    fills = pl.concat([run.fills, opened]).sort("ts", maintain_order=True)
    assert found_by(replace(run, trades=pl.concat([run.trades, again]), fills=fills)) == []


def test_without_candles_what_needs_them_is_skipped_and_a_person_has_to_look():
    report = examined(replace(sound(), candles=None), LENIENT)
    assert report.status is QualityStatus.REVIEW_REQUIRED
    skipped = [one.name for one in report.outcomes if one.status is QualityStatus.SKIPPED]
    assert skipped == ["fills_without_volume", "prices_outside_bars"]


def test_a_profit_that_is_no_number_is_an_anomaly_and_spoils_no_other_check():
    run = changed(sound(), pnl=first("pnl", float("nan")))
    assert found_by(run) == ["anomalies"]
    broken = replace(run, equity=run.equity.with_columns(first("equity", float("nan"))))
    asked = LENIENT.model_copy(update={"max_drawdown": (0.0, 0.2)})
    json.loads(json.dumps(examined(broken, asked).document(), allow_nan=False))


def test_criteria_hold_figures_in_their_ranges():
    figures = figures_of(sound())
    assert figures["win_rate"] == pytest.approx(0.6)
    assert figures["average_r"] == pytest.approx(0.6 * 2.95 - 0.4 * 1.05)
    assert figures["rr"] == pytest.approx(5.9 / 2.1)
    asked = ValidationCriteria(trades=31, win_rate=("10%", "50%"), average_r=None, rr=(2, None), expectancy=(5, 6))
    failed = [one.name for one in examined(sound(), asked).outcomes if one.status is QualityStatus.FAIL]
    assert failed == ["trades", "win_rate", "expectancy"]


def test_a_figure_that_no_trade_has_asks_for_review():
    run = changed(sound(), r_multiple=pl.lit(None, pl.Float64))
    assert found_by(run) == ["average_r"]
    assert examined(run, LENIENT).status is QualityStatus.REVIEW_REQUIRED


def test_the_default_criteria_are_those_of_the_documentation():
    asked = ValidationCriteria()
    assert (asked.trades, asked.win_rate, asked.average_r, asked.samples) == (20, (0.5, 0.7), (1.5, 2.5), 10)
    assert (asked.max_drawdown, asked.expectancy, asked.zones) == (None, None, None)
    with pytest.raises(ValidationError, match="swap the two"):
        ValidationCriteria(win_rate=(0.7, 0.5))


def test_a_run_without_a_trade_fails_by_its_number_of_trades():
    run = sound()
    empty = replace(run, trades=run.trades.clear(), fills=run.fills.clear())
    assert found_by(empty) == ["trades", "win_rate", "average_r"]
    assert sampled_trades(empty, 10) == []


def test_samples_are_the_same_of_the_same_run_and_others_of_another():
    run = sound()
    chosen = sampled_trades(run, 10)
    assert len(set(chosen)) == 10
    assert chosen == sampled_trades(run, 10)
    assert chosen != sampled_trades(replace(run, run_id="ba9876543210"), 10)
    assert len(sampled_trades(run, 200)) == COUNT


def test_a_person_passes_doubts_or_rejects():
    asked = [("BTCUSDT", 1), ("BTCUSDT", 2)]
    right = dict.fromkeys(asked, "right")
    for answers, status, said in (
        (right, QualityStatus.PASS, ""),
        ({asked[0]: "right"}, QualityStatus.REVIEW_REQUIRED, "no person has confirmed: BTCUSDT 2"),
        ({**right, asked[0]: "unsure"}, QualityStatus.REVIEW_REQUIRED, "unsure: BTCUSDT 1"),
        ({**right, asked[1]: "wrong"}, QualityStatus.FAIL, "calls wrong: BTCUSDT 2"),
    ):
        outcome = samples_outcome(asked, answers)
        assert (outcome.status, said in " ".join(outcome.sentences)) == (status, True)
        assert QualityReport("x", (outcome,)).status is status


# Zones


def label(pair="BTCUSDT", side="supply", bottom="100", top="110", since="2024-01-05", until="2024-01-06", kind="any"):
    return {"pair": pair, "kind": kind, "side": side, "bottom": bottom, "top": top, "from": since, "to": until}


def zone(bottom, top, born, side="supply", kind="order_block", pair="BTCUSDT"):
    return {"pair": pair, "kind": kind, "side": side, "bottom": bottom, "top": top, "born": born}


def test_recall_and_precision_count_what_agrees():
    labels = labels_of(
        pl.DataFrame([label(), label(bottom="200", top="210", since="2024-01-07", until="2024-01-08")]), ""
    )
    inside = START + 4 * 24 * HOUR + HOUR
    zones = pl.DataFrame(
        [
            zone(101.0, 111.0, inside),  # agrees with the first
            zone(104.0, 120.0, inside),  # too little in common
            zone(101.0, 111.0, inside, side="demand"),
            zone(101.0, 111.0, START),  # before the labelled time: not judged
            zone(101.0, 111.0, inside, pair="ETHUSDT"),  # a pair without labels: not judged
        ]
    )
    found = agreement(zones, labels, 0.5)
    assert (found.labels, found.labels_found, found.zones, found.zones_labelled) == (2, 1, 3, 1)
    assert (found.recall, found.precision) == (0.5, pytest.approx(1 / 3))


def test_where_labels_name_kinds_other_kinds_are_not_judged():
    labels = labels_of(pl.DataFrame([label(kind="fair_value_gap")]), "")
    inside = START + 4 * 24 * HOUR + HOUR
    found = agreement(pl.DataFrame([zone(100.0, 110.0, inside)]), labels, 0.5)
    assert (found.recall, found.precision) == (0.0, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (label(side="up"), "side is 'up'; choose one of demand, supply"),
        (label(kind="block"), "kind is 'block'"),
        (label(bottom="x" * 500), "bottom is"),
        (label(bottom="120"), "bottom must lie below top"),
        (label(since="2024-01-07"), "swap the two"),
        (label(since="soon"), "is no date"),
    ],
)
def test_an_odd_label_is_told_in_a_sentence(row, said):
    with pytest.raises(Misconfigured, match=said) as told:
        labels_of(pl.DataFrame([row]), "labels zones.csv")
    assert len(str(told.value)) < 400


def test_the_gaps_that_the_generator_knows_are_found_and_nothing_else():
    """The filter's own structure of generated hours against the truth of its generator."""
    from tests.filters.test_against_library import bars_of, said

    days = 60
    schedule = gapped_schedule(24 * days, 7)
    candles = generate(["BTCUSDT"], days, 7, schedule=schedule)["BTCUSDT"]
    truth = known_zones("BTCUSDT", candles, schedule)
    assert len(truth) == 3
    hours = hourly(candles)
    facts, known = said(bars_of(hours), 10, fvg_min_pct=0.06)
    gaps = facts["kind"] == Fact.GAP
    zones = pl.DataFrame(
        [
            zone(float(fact["bottom"]), float(fact["top"]), int(hours.ts[at]) + HOUR, side, "fair_value_gap")
            for fact, at in zip(facts[gaps], known[gaps], strict=True)
            for side in ["demand" if fact["direction"] > 0 else "supply"]
        ]
    )
    rows = [
        label(one.pair, one.side, str(one.bottom), str(one.top), str(one.start), str(one.end), one.kind)
        for one in truth
    ]
    found = agreement(zones, labels_of(pl.DataFrame(rows), ""), 0.5)
    assert (found.precision, found.labels) == (1.0, 3)
    assert found.labels_found >= 2  # one of them is a gap of four hours alone
    moved = [{**row, "bottom": str(float(row["bottom"]) * 0.8), "top": str(float(row["top"]) * 0.8)} for row in rows]
    assert agreement(zones, labels_of(pl.DataFrame(moved), ""), 0.5).recall == 0.0


def hourly(candles):
    from bot.candles import Candles

    shape = (-1, 60)
    high, low = candles.high.reshape(shape).max(1), candles.low.reshape(shape).min(1)
    volume = candles.volume.reshape(shape).sum(1)
    return Candles(candles.ts[::60], candles.open[::60], high, low, candles.close[59::60], volume, HOUR)
