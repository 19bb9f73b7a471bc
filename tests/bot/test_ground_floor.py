"""Roll-up, records, parameters, slots, ledger and the kernel cache."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import backtesting
from bot.candles import parse_time
from bot.errors import Misconfigured
from bot.instrument import in_ticks
from bot.ledger import LEDGER, book_fill, book_funding, deposit, equity, imbalance
from bot.order import SLOT, OrderKind, Side, Signal, clear_order, set_order
from bot.parameters import Parameters
from bot.record import from_dict, new_record, new_records, to_dict
from bot.rollup import BAR, ROLLUP, TIMEFRAMES, bucket_start, rollup_update
from bot.sources import ROOT
from bot.strategy import EVENT, PAIR, load_strategy, whole_down, whole_ms, whole_up
from strategies import dca, grid, trend
from tests.conftest import START, instrument


def test_ours_is_the_backtesting_that_is_imported():
    assert backtesting.__file__ == str(ROOT / "backtesting" / "__init__.py")


# Roll-up.


def rolled(minutes: list[int], timeframe: int) -> tuple[list[tuple[int, float]], int]:
    rollup, bar, done = new_record(ROLLUP), new_record(BAR), []
    for minute in minutes:
        bar.ts, bar.open, bar.close, bar.volume = START + minute * 60_000, minute, minute + 0.5, 1.0
        bar.high, bar.low = minute + 0.7, minute - 0.2
        if rollup_update(rollup, bar, 60_000, timeframe * 60_000):
            done.append((int(rollup.bar.ts - START) // 60_000, to_dict(rollup.bar)))
    return done, int(rollup.incomplete)


def test_a_bar_is_visible_only_when_closed_and_complete():
    """F-28, F-29."""
    done, incomplete = rolled(list(range(14)), 5)
    assert [start for start, _ in done] == [0, 5]
    assert done[1][1] == {"ts": START + 5 * 60_000, "open": 5, "high": 9.7, "low": 4.8, "close": 9.5, "volume": 5}
    assert incomplete == 0


def test_f57_a_bucket_with_a_missing_minute_is_counted_and_not_used():
    done, incomplete = rolled([m for m in range(20) if m != 7], 5)
    assert [start for start, _ in done] == [0, 10, 15]
    assert incomplete == 1


@given(st.sets(st.integers(0, 200), min_size=1))
def test_rolled_bars_are_exactly_the_complete_buckets(minutes):
    done, _ = rolled(sorted(minutes), 15)
    complete = [b for b in range(0, 201, 15) if all(m in minutes for m in range(b, b + 15))]
    assert [start for start, _ in done] == complete


@pytest.mark.parametrize(("name", "opens"), [("1w", "2024-01-01"), ("3d", "2023-12-31"), ("12h", "2024-01-03T12:00")])
def test_weeks_open_on_monday_and_other_lengths_count_from_the_epoch(name, opens):
    """2024-01-01 was a Monday, and 2023-12-31 lies a multiple of three days after the epoch."""
    assert bucket_start(parse_time("2024-01-03T13:37" if name == "12h" else "2024-01-02T13:37"), TIMEFRAMES[name]) == (
        parse_time(opens)
    )


# Records.


@pytest.mark.parametrize("dtype", [PAIR, EVENT, grid.STATE, dca.STATE, trend.STATE, SLOT], ids=lambda d: d.names[0])
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_a_record_survives_the_trip_through_a_dict(dtype, seed):
    import json

    record = new_record(dtype)
    _scramble(record, np.random.default_rng(seed))
    again = from_dict(dtype, json.loads(json.dumps(to_dict(record))))
    assert to_dict(again) == to_dict(record)


def _scramble(record, rng):
    for name in record.dtype.names:
        kind, base = record.dtype[name], record.dtype[name].base
        if base.names and kind.subdtype is None:
            _scramble(record[name], rng)
        elif base.kind == "f":
            record[name] = rng.standard_normal(kind.shape) * 1e5
        elif base.kind == "i":
            record[name] = rng.integers(-100, 100, kind.shape)


def test_a_state_of_another_layout_is_refused():
    values = to_dict(new_record(LEDGER))
    values["strange"] = 1
    with pytest.raises(Misconfigured, match="strange"):
        from_dict(LEDGER, values)


# Whole numbers.


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_stays_itself_whatever_dust_is_on_it(n):
    for tolerance in (0.0, 1e-10, -1e-10):
        value = n + tolerance * max(min(abs(n), 10**6), 1)
        assert whole_down(value) == n == whole_up(value)


@given(st.integers(-(10**12), 10**12), st.floats(0.01, 0.99))
def test_what_is_not_dust_is_rounded_the_way_it_says(n, fraction):
    assert (whole_down(n + fraction), whole_up(n + fraction)) == (n, n + 1)


@given(st.integers(1, 10**9), st.sampled_from(["0.1", "0.01", "0.00001", "0.05", "2.5"]))
def test_f17_a_price_on_the_grid_is_a_whole_number_of_ticks(ticks, tick):
    price = float(Decimal(tick) * ticks)
    assert in_ticks(np.array([price]), float(tick))[0] == ticks


def test_lots_never_round_up():
    assert instrument(lot="0.001").lots(Decimal("0.0029999")) == 2


# Slots.


def test_generation_rises_when_an_order_is_set_anew_and_not_when_it_is_amended():
    slots = new_records(SLOT, 1)
    for price, quantity in ((100, 5), (101, 5), (101, 7)):
        set_order(slots, 0, Side.BUY, OrderKind.LIMIT, price, quantity, Signal.ENTRY, 0)
        assert slots[0].generation == 1
    clear_order(slots, 0)
    set_order(slots, 0, Side.BUY, OrderKind.LIMIT, 101, 7, Signal.ENTRY, 0)
    assert slots[0].generation == 2


@pytest.mark.parametrize("signal", list(Signal))
def test_f11_every_exit_is_reduce_only(signal):
    slots = new_records(SLOT, 1)
    set_order(slots, 0, Side.SELL, OrderKind.LIMIT, 100, 1, signal, 0)
    assert bool(slots[0].reduce_only) == (signal not in (Signal.ENTRY, Signal.GRID_COUNTER))


# Ledger.

fill = st.tuples(st.sampled_from([1, -1]), st.integers(1, 10**7), st.integers(1, 10**6), st.floats(-1, 50))


@given(st.lists(fill, max_size=60), st.integers(1, 10**7), st.floats(-100, 100))
def test_equity_by_its_parts_is_equity_by_the_money_that_moved(fills, mark, funding):
    ledger = new_record(LEDGER)
    deposit(ledger, 1000.0)
    book_funding(ledger, funding)
    for side, ticks, lots, fee in fills:
        book_fill(ledger, side, float(ticks), lots, 0.0001, fee)
    scale = ledger.deposits + ledger.turnover + abs(ledger.position * mark * 0.0001)
    assert abs(imbalance(ledger, float(mark), 0.0001)) <= 1e-9 * scale


def test_f41_buying_costs_no_equity_but_the_fee():
    ledger = new_record(LEDGER)
    deposit(ledger, 1000.0)
    book_fill(ledger, 1, 500.0, 1000, 0.001, 0.25)
    assert equity(ledger, 500.0, 0.001) == 1000.0 - 0.25


def test_turning_a_position_realises_the_closed_part_alone():
    ledger = new_record(LEDGER)
    book_fill(ledger, 1, 100.0, 10, 1.0, 0.0)
    assert book_fill(ledger, -1, 110.0, 15, 1.0, 0.0) == 100.0
    assert (ledger.position, ledger.cost) == (-5, -550.0)


# Parameters: family 9, the config contract.


@pytest.mark.parametrize("model", [grid.GridParameters, dca.DcaParameters, trend.TrendParameters])
def test_family_9_every_parameter_has_bounds_help_and_a_default_inside_them(model):
    """F-34, F-43: one place for each, with its unit."""
    model.model_validate(model().model_dump())
    for name, field in model.model_fields.items():
        assert field.description, name
        if field.annotation in (int, float):
            assert field.metadata, f"{name} has no bounds"


@pytest.mark.parametrize("model", [grid.GridParameters, dca.DcaParameters, trend.TrendParameters])
def test_family_9_the_record_holds_what_the_model_says(model):
    record = model().record()
    for name in record.dtype.names:
        value = getattr(model(), name)
        if isinstance(value, int | float):
            assert record[name] == value, name
    assert record["timeframe"] == model().timeframe_ms


def test_per_cent_may_be_written_as_such():
    assert grid.GridParameters(stop_loss="5%").stop_loss == pytest.approx(0.05)


def test_presets_give_way_to_what_is_said():
    parameters = grid.GridParameters(preset="high", levels=12)
    assert (parameters.levels, parameters.profit_per_grid) == (12, 0.01)
    with pytest.raises(ValidationError, match="low, medium, high"):
        grid.GridParameters(preset="huge")


def test_parameters_cannot_be_misspelt():
    """F-24."""
    with pytest.raises(ValidationError):
        Parameters(timefrane="1h")


# Loading strategies.


def test_a_strategy_that_is_not_there_is_said_so():
    for reference, words in (("nowhere:X", "nowhere"), ("strategies.grid:NOPE", "NOPE"), ("gone.py:X", "gone.py")):
        with pytest.raises(Misconfigured, match=words):
            load_strategy(reference)


def test_without_the_compiler_the_fills_are_the_same(tmp_path):
    """Determinism, and the same kernels under NUMBA_DISABLE_JIT=1; the run id is equal too."""
    code = (
        "from backtesting.run import simulate\nfrom tests.conftest import walk\nimport hashlib\n"
        "for name, more in (('grid', {}), ('dca', {'confluence': 0.3}), ('trend', {})):\n"
        "    section = {'warmup_bars': 20, 'timeframe': '15m', **more}\n"
        "    r = simulate({'strategy': name, 'pair': 'BTCUSDT', name: section}, walk(1500, seed=8))\n"
        "    print(name, len(r.fills), hashlib.sha256(r.recording.fills.tobytes()).hexdigest(), r.document.run_id)\n"
    )
    answers = set()
    for disabled in ("0", "1"):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**__import__("os").environ, "NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        answers.add(answer.stdout)
    assert len(answers) == 1
    assert all(int(line.split()[1]) > 0 for line in answers.pop().splitlines())


@pytest.mark.parametrize(
    ("duration", "unit", "expected"),
    [(0.2, 86_400_000, 17_280_000), (0.29, 3_600_000, 1_044_000), (1.1, 60_000, 66_000)],
)
def test_durations_are_whole_milliseconds(duration, unit, expected):
    assert whole_ms(duration, unit) == expected


def test_what_is_left_of_a_triggered_stop_goes_under_the_newest_label():
    slots = new_records(SLOT, 1)
    set_order(slots, 0, Side.SELL, OrderKind.STOP, 90, 5, Signal.EXIT_SL, 0)
    slots[0].kind, slots[0].quantity = OrderKind.MARKET, 3  # the exchange has triggered it and filled two lots
    set_order(slots, 0, Side.SELL, OrderKind.STOP, 95, 3, Signal.EXIT_TP, 0)
    assert (slots[0].kind, slots[0].signal, slots[0].quantity) == (OrderKind.MARKET, Signal.EXIT_TP, 3)
    set_order(slots, 0, Side.BUY, OrderKind.STOP, 110, 3, Signal.EXIT_SL, 0)
    assert (slots[0].kind, slots[0].generation) == (OrderKind.STOP, 2)


@pytest.mark.parametrize("kind", [OrderKind.LIMIT, OrderKind.STOP])
def test_f_75_no_order_rests_at_a_price_of_zero(kind):
    slots = new_records(SLOT, 1)
    set_order(slots, 0, Side.BUY, kind, 0, 5, Signal.ENTRY, 0)
    assert not slots[0].active


def test_f_75_a_price_that_is_none_of_a_tick_is_not_zero_ticks():
    ticks = in_ticks(np.array([5e-7, 0.0, 1.0 + 1e-9]), 1.0)
    assert ticks.tolist() == [5e-7, 0.0, 1.0]


def test_f_75_a_ledger_counts_the_lots_of_a_cheap_coin():
    """Twenty billion coins at 0.0000005: position times change is no int64."""
    ledger, lots = new_record(LEDGER), np.int64(40_000_000_000)
    deposit(ledger, 20_000.0)
    for side, ticks in ((Side.BUY, 5.0), (Side.BUY, 5.0), (Side.SELL, 6.0), (Side.SELL, 6.0)):
        book_fill(ledger, np.int64(side), ticks, lots, 1e-7, 0.0)
        assert imbalance(ledger, 6.0, 1e-7) == pytest.approx(0.0, abs=1e-6)
    assert (ledger.position, ledger.realised) == (0, pytest.approx(8_000.0))
