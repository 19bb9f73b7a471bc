"""What the chart of a page draws, as packed columns: account, candles, fills, orders, zones and spans of every pair.

Candles are of the finest usual length that fits into the page's size; the chart rolls them up as one zooms out. What
had to be left out is said in `notes`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtesting.reports.labels import MODE_COLOURS, REGIME_COLOURS, label, strategy_colours
from backtesting.reports.packing import PackedColumn, money_step, packed
from bot.times import MINUTE, SECOND
from coordinator.vocabulary import DecisionKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.reports.run_view import RunView
    from backtesting.result import BacktestResult

LENGTHS = (1, 5, 15, 30, 60, 240, 1440, 10_080)  # minutes
ACCOUNT_POINTS, FILLS, TRADES, ORDERS, ZONES, TARGETS = 12_000, 16_000, 10_000, 9_000, 600, 2_000
MOST_TEXT = 1_100_000  # characters of packed columns on a page; candles take what the others leave
LEAST_CANDLES = 150_000
SMALLEST_VOLUME = 1e-17  # less is nothing
SIDES = {"buy": 0, "sell": 1}
ZONE_KINDS = ("demand", "supply", "liquidity")
Span = tuple[int, int, str]


def chart_data(view: RunView) -> dict[str, Any]:
    """Lay out everything that the chart of a run draws."""
    notes: list[str] = []
    data: dict[str, Any] = {
        "currency": view.currency,
        "strategy": view.document.strategy,
        "account": account_table(view.ts, view.equity, view.benchmark, view.drawdown),
        "targets": _targets(view.portfolio) if view.portfolio else None,
        "trades": _trades(view, notes),
        "pairs": [_pair(view, index, notes) for index in range(len(view.pairs))],
        "notes": notes,
    }
    length = _candle_length(view, max(MOST_TEXT - _characters(data), LEAST_CANDLES))
    for pair, single in zip(data["pairs"], view.singles.values(), strict=True):
        pair |= {"seconds": length // SECOND, "candles": _candles(single, length)}
    return data


def _characters(value: Any) -> int:
    """Characters of the packed columns inside a value."""
    if isinstance(value, dict):
        return sum(len(one) if key == "data" else _characters(one) for key, one in value.items())
    return sum(_characters(one) for one in value) if isinstance(value, list) else 0


def account_table(
    ts: NDArray[np.int64], equity: NDArray[np.float64], held: NDArray[np.float64], under: NDArray[np.float64]
) -> dict[str, Any]:
    """Equity, buy and hold at the end of each bucket, and the deepest drawdown in it (n,)."""
    length = bucket_length(ts, ACCOUNT_POINTS)
    starts, ends = buckets(ts, length)
    lowest = np.minimum.reduceat(under, starts)
    times = ts[starts] // length
    return packed(
        t=PackedColumn(times, Fraction(1)),
        equity=PackedColumn(equity[ends], money_step(equity)),
        held=PackedColumn(held[ends], money_step(held)),
        drawdown=PackedColumn(lowest, Fraction(1, 10_000)),
    ) | {"seconds": length // SECOND}


def bucket_length(ts: NDArray[np.int64], most: int) -> int:
    """Shortest usual length, ms, of which the time holds at most `most`; that of the bars where they are so few."""
    bar = int(np.diff(ts).min()) if len(ts) > 1 else MINUTE
    span = int(ts[-1] - ts[0]) + bar
    lengths = [bar, *(minutes * MINUTE for minutes in LENGTHS if minutes * MINUTE > bar)]
    return next((one for one in lengths if span / one <= most), lengths[-1])


def buckets(ts: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the first and the last row of each bucket."""
    edges = np.flatnonzero(np.diff(ts // length)) + 1
    return np.concatenate(([0], edges)), np.concatenate((edges - 1, [len(ts) - 1]))


def _candle_length(view: RunView, most: int) -> int:
    """Shortest length, ms, with which the candles of all pairs take at most so many characters."""
    bar = view.bar_ms
    lengths = [bar, *(minutes * MINUTE for minutes in LENGTHS if minutes * MINUTE > bar)]
    rows = sum(len(one.candles) for one in view.singles.values())
    for length in lengths:
        if rows * bar / length > most / 2:  # a candle takes more than two characters
            continue
        if sum(len(_candles(one, length)["data"]) for one in view.singles.values()) <= most:
            return length
    return lengths[-1]


def _candles(single: BacktestResult, length: int) -> dict[str, Any]:
    """Candles in ticks: each opening after the close before it, high and low from the body; volume to three digits."""
    frame, tick = single.candles, float(single.recording.prepared.instrument.tick_size)
    ts = frame["ts"].to_numpy()
    starts, ends = buckets(ts, length)
    ticks = {name: np.rint(frame[name].to_numpy() / tick).astype(np.int64) for name in ("open", "high", "low", "close")}
    first, last = ticks["open"][starts], ticks["close"][ends]
    high, low = np.maximum.reduceat(ticks["high"], starts), np.minimum.reduceat(ticks["low"], starts)
    return packed(
        t=PackedColumn(ts[starts] // length),
        open=PackedColumn(first - np.concatenate(([0], last[:-1])), follows=False),
        close=PackedColumn(last - first, follows=False),
        high=PackedColumn(high - np.maximum(first, last), follows=False),
        low=PackedColumn(np.minimum(first, last) - low, follows=False),
        volume=PackedColumn(volume_code(np.add.reduceat(frame["volume"].to_numpy(), starts)), follows=False),
    )


def volume_code(volume: NDArray[np.float64]) -> NDArray[np.int64]:
    """Three digits and a power of ten in one number (n,), which `columns.js` reads; 0 where nothing was traded."""
    some = volume > SMALLEST_VOLUME
    power = np.floor(np.log10(volume, where=some, out=np.zeros(len(volume)))) - 2
    digits = np.rint(volume / 10.0**power)
    power, digits = np.where(digits > 999, power + 1, power), np.where(digits > 999, 100, digits)
    return np.where(some, (power + 20) * 900 + digits - 99, 0).astype(np.int64)


def _pair(view: RunView, index: int, notes: list[str]) -> dict[str, Any]:
    pair, fills = view.pairs[index], sum(len(one.recording.fills) for one in view.singles.values())
    orders = sum(len(one.levels) for one in view.singles.values())
    single = view.singles[pair]
    most = FILLS * len(single.recording.fills) // max(fills, FILLS)  # its share of what a page holds
    instrument = single.recording.prepared.instrument
    tick, lot = Fraction(instrument.tick_size), Fraction(instrument.lot_size)
    laid: dict[str, Any] = {
        "name": pair,
        "tick": [tick.numerator, tick.denominator],
        "lot": [lot.numerator, lot.denominator],
        "fills": _fills(single, tick, most, notes),
        "orders": _orders(single, tick, ORDERS * len(single.levels) // max(orders, ORDERS), notes),
        "ribbons": [],
        "zones": None,
    }
    if view.portfolio is not None:
        laid["ribbons"] = _ribbons(view.portfolio, index)
        laid["zones"] = _zones(view.portfolio, index, tick)
    return laid


def _fills(single: BacktestResult, tick: Fraction, most: int, notes: list[str]) -> dict[str, Any]:
    fills = single.fills.tail(most)
    _note(notes, single.config.pair, "fills", len(single.fills), len(fills))
    lot = Fraction(single.recording.prepared.instrument.lot_size)
    words = sorted(fills["signal"].unique().to_list())
    fee, realized = fills["fee"].to_numpy(), fills["realized"].to_numpy()
    return packed(
        t=PackedColumn(fills["ts"].to_numpy() // SECOND),
        side=PackedColumn(np.array([SIDES[side] for side in fills["side"]]), follows=False),
        price=PackedColumn(fills["price"].to_numpy(), tick),
        quantity=PackedColumn(fills["qty"].to_numpy(), lot),
        position=PackedColumn(fills["position"].to_numpy(), lot),
        why=PackedColumn(np.array([words.index(word) for word in fills["signal"]]), follows=False),
        maker=PackedColumn((fills["liquidity"] == "maker").to_numpy(), follows=False),
        fee=PackedColumn(fee, money_step(fee) / 100),
        realized=PackedColumn(realized, money_step(realized)),
    ) | {"words": [label(word) for word in words]}


def _orders(single: BacktestResult, tick: Fraction, most: int, notes: list[str]) -> dict[str, Any] | None:
    """Spans in which an order rested: bought, sold, or a stop. Nothing where a run does not keep them."""
    levels = single.levels
    if levels.is_empty():
        return None
    shown = levels.tail(most)
    _note(notes, single.config.pair, "spans of resting orders", len(levels), len(shown))
    kind = np.where(shown["kind"] == "stop", 2, np.where(shown["side"] == "buy", 0, 1))
    return packed(
        t=PackedColumn(shown["ts_from"].to_numpy() // SECOND),
        until=PackedColumn(shown["ts_to"].to_numpy() // SECOND),
        price=PackedColumn(shown["price"].to_numpy(), tick),
        kind=PackedColumn(kind, follows=False),
    )


def _note(notes: list[str], pair: str, what: str, whole: int, shown: int) -> None:
    if shown < whole:
        notes.append(f"{pair}: of {whole:,} {what} the chart has the last {shown:,}; the run's folder has all.")


def _ribbons(result: PortfolioResult, index: int) -> list[dict[str, Any]]:
    """Regime, strategy and risk modes over time, each in a row of its own."""
    rows = []
    if result.config.algorithm.alone is None:
        colours = strategy_colours(result.config.algorithm.roster.names)
        rows.append(("Regime", result.regime_spans(index), REGIME_COLOURS))
        rows.append(("Strategy", result.strategy_spans(index), colours))
    modes = result.mode_spans()
    if any(name != "normal" for _, _, name in modes):
        rows.append(("Risk mode", modes, MODE_COLOURS))
    return [_ribbon(*row) for row in rows]


def _ribbon(title: str, spans: Sequence[Span], colours: dict[str, str]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for _, _, name in spans))
    table = packed(
        t=PackedColumn(np.array([start for start, _, _ in spans]) // SECOND),
        until=PackedColumn(np.array([end for _, end, _ in spans]) // SECOND),
        which=PackedColumn(np.array([names.index(name) for _, _, name in spans]), follows=False),
    )
    shades = [colours.get(name) or colours.get(name.split("+")[-1], "#9aa5b1") for name in names]
    return table | {"title": title, "names": [label(name) for name in names], "colours": shades}


def _zones(result: PortfolioResult, index: int, tick: Fraction) -> dict[str, Any] | None:
    """The zones of market structure that lived longest."""
    zones = result.zones(index, ZONES)
    if not zones:
        return None
    return packed(
        t=PackedColumn(np.array([zone.born for zone in zones]) // SECOND),
        until=PackedColumn(np.array([zone.died for zone in zones]) // SECOND),
        bottom=PackedColumn(np.array([zone.bottom for zone in zones]), tick),
        top=PackedColumn(np.array([zone.top for zone in zones]), tick),
        kind=PackedColumn(np.array([ZONE_KINDS.index(zone.kind) for zone in zones]), follows=False),
    )


def _targets(result: PortfolioResult) -> dict[str, Any] | None:
    """Capital targets of the pairs as a share of equity, where an allocator moves them."""
    decisions = result.decisions(DecisionKind.ALLOCATION)
    times = np.unique(decisions["ts"])
    if len(times) < 2 or result.config.algorithm.alone is not None:
        return None
    allocations = result.allocations
    at = np.unique(np.linspace(0, len(times) - 1, min(len(times), TARGETS)).astype(np.int64))
    equity = np.maximum(np.array(allocations.equity), 1e-9)
    shares = {
        f"p{index}": PackedColumn(np.array(allocations.targets[pair])[at] / equity[at] * 100.0, Fraction(1, 100))
        for index, pair in enumerate(result.recording.pairs)
    }
    return packed(t=PackedColumn(times[at] // SECOND), **shares)


def _trades(view: RunView, notes: list[str]) -> dict[str, Any]:
    """Columns of the table of trades; the newest where there are more than a page holds."""
    trades = view.trades.tail(TRADES)
    if len(trades) < len(view.trades):
        notes.append(
            f"Of {len(view.trades):,} trades the table has the last {len(trades):,}; trades.csv of the run has all."
        )
    words = {name: sorted(trades[name].drop_nulls().unique().to_list()) for name in WORDS}
    columns = {name: _numbered(trades[name], words[name]) for name in WORDS}
    for name in ("pnl", "fees", "funding"):
        values = trades[name].to_numpy()
        # Finer than what is shown, since the page adds them up.
        columns[name] = PackedColumn(values, money_step(values) / 1000, follows=False)
    ticks, lots = (_of_pairs(view, trades, name) for name in ("tick_size", "lot_size"))
    for name in ("entry_price", "exit_price"):  # in tenths of the pair's tick
        columns[name] = PackedColumn(_floats(trades[name]) / ticks * 10.0, follows=False)
    for name in ("pnl_pct", "r_multiple", "mae", "mfe"):
        columns[name] = PackedColumn(_floats(trades[name]), Fraction(1, 1000), follows=False)
    table = packed(
        entry_time=PackedColumn(_floats(trades["entry_time"]) / SECOND),
        exit_time=PackedColumn(_floats(trades["exit_time"]) / SECOND),
        quantity=PackedColumn(trades["qty"].to_numpy() / lots, follows=False),
        **columns,
    )
    return table | {"words": {name: [label(word) for word in own] for name, own in words.items()}}


WORDS = ("pair", "strategy", "side", "entry_kind", "exit_reason")


def _numbered(values: pl.Series, words: list[str]) -> PackedColumn:
    places = {word: place for place, word in enumerate(words)}
    return PackedColumn(np.array([places.get(value, np.nan) for value in values]), follows=False)


def _floats(values: pl.Series) -> NDArray[np.float64]:
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _of_pairs(view: RunView, trades: pl.DataFrame, field: str) -> NDArray[np.float64]:
    """Tick or lot of each trade's pair."""
    sizes = {pair: float(getattr(one.recording.prepared.instrument, field)) for pair, one in view.singles.items()}
    return np.array([sizes[pair] for pair in trades["pair"]], np.float64)
