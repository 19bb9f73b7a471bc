# ruff: noqa: INP001, a script of its own
"""Draw the pictures of docs/rules.md, each from a run of the simulator: `uv run python docs/pictures/rules.py`.

With NUMBA_DISABLE_JIT=1 nothing is compiled. The candles are made here, bars of 15 minutes under signal bars of an
hour. Shaded is what the conditions say together: green LONG, red SHORT, orange both at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from drawing import (
    AVERAGE,
    BEGIN,
    ENTRY,
    GAIN,
    INK,
    LOSS,
    TICK,
    Corners,
    candles_along,
    hours_of,
    named,
    panels,
    played,
    price_and_orders,
    quiet,
    write,
)

from bot.conditions import CONFLICT, Condition
from bot.indicator_functions import outputs_of
from bot.indicator_registry import INDICATORS, LIMITS, PRICES
from bot.order import Signal
from bot.rollup import TIMEFRAMES
from bot.times import HOUR, MINUTE
from strategies.rules import RulesParameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from backtesting.simulator import Recording
    from bot.candles import Candles

PER_HOUR, WARM_HOURS = 4, 400
Options = dict[str, Any]

WAVES = ((0, 100.0), (12, 96.6), (30, 102.2), (48, 97.2), (62, 101.2), (72, 100.6))
TREND = ((0, 100.0), (14, 98.8), (40, 103.4), (50, 103.0), (74, 98.6), (84, 99.2))
RSI: Options = {"indicator": "RSI", "long_below": 30, "short_above": 70}
EMA: Options = {"indicator": "EMA", "timeperiod": 20}
ROC: Options = {"indicator": "ROC", "timeperiod": 10}
STRENGTH: Options = {"indicator": "RSI", "long_above": 60, "short_below": 40}
BOTH = {"direction": "long_short"}

# By kind: title, conditions, other options, corners of the price (hour, price).
KINDS: dict[str, tuple[str, list[Options], Options, Corners]] = {
    "threshold": ("{indicator: RSI, long_below: 30, short_above: 70}", [RSI], {}, WAVES),
    "state": ("{indicator: EMA, timeperiod: 20}: close over it", [EMA], BOTH, TREND),
    "cross": (
        "{indicator: MACD, rule: cross, output: macd, against: macdsignal}",
        [{"indicator": "MACD", "rule": "cross", "output": "macd", "against": "macdsignal"}],
        BOTH,
        TREND,
    ),
    "slope": (
        "{indicator: EMA, timeperiod: 20, rule: slope, bars: 3}",
        [{**EMA, "rule": "slope", "bars": 3}],
        BOTH,
        TREND,
    ),
    "band": ("{indicator: DONCHIAN, timeperiod: 20}", [{"indicator": "DONCHIAN", "timeperiod": 20}], BOTH, TREND),
    "invert": (
        "{indicator: BBANDS, invert: true}: LONG under the lower band",
        [{"indicator": "BBANDS", "timeperiod": 20, "invert": True}],
        {},
        WAVES,
    ),
    "either": (
        "{indicator: EMA} and {indicator: ADX, long_above: 50, either: true}",
        [EMA, {"indicator": "ADX", "long_above": 50, "either": True}],
        BOTH,
        TREND,
    ),
}
THREE = [EMA, ROC, STRENGTH]
GAINS = tuple(
    zip((0, 10, 50, 80, 120, 150, 165, 185, 225, 250), (100, 96, 135, 110, 150, 120, 135, 105, 150, 130), strict=True)
)
SIZINGS: tuple[Options, ...] = (
    {"sizing": "all_in"},
    {"sizing": "fixed_quote", "quote": 5000},
    {"sizing": "compound", "quote": 5000},
    {"sizing": "compound_profit_lock", "quote": 5000, "safe_profit_percent": 50},
    {"sizing": "compound_profit_lock", "quote": 5000, "safe_profit_percent": 100},
)
DIRECTIONS: tuple[Options, ...] = tuple({"direction": one} for one in ("long_only", "short_only", "long_short"))
COMBINES: tuple[Options, ...] = tuple({**BOTH, "combine": one} for one in ("all", {"at_least": 2}, "any"))
LENGTHS: tuple[Options, ...] = ({"timeframe": "1h"}, {"timeframe": "15m"}, {"timeframe": "1h", "warmup_bars": 430})
STOPS: tuple[Options, ...] = ({}, {"stop": "2%"}, {"target": "3%"})
TRIGGERS: tuple[Options, ...] = tuple({"trigger": one, "stop": "2%", "target": "3%"} for one in ("intrabar", "close"))
SLICED: Options = {"twap_minutes": 360, "twap_slices": 6}
TWAPS: tuple[Options, ...] = (
    {"enter_by": "market", "leave_by": "market"},
    {"enter_by": "twap", **SLICED},
    {"enter_by": "twap", "leave_by": "twap", **SLICED},
    {"enter_by": "twap", "leave_by": "twap", **SLICED, "twap_limit": "0.2%"},
)
# By picture: the options of its runs.
OPTIONS: dict[str, tuple[Options, ...]] = {
    **{name: ({"when": when, **options},) for name, (_, when, options, _) in KINDS.items()},
    "combine": tuple({"when": THREE, **one} for one in COMBINES),
    "conflict": ({"when": [RSI, EMA], **BOTH, "combine": "any"},),
    "direction": tuple({"when": [EMA], **one} for one in DIRECTIONS),
    "timeframe": tuple({"when": [EMA], **one} for one in LENGTHS),
    "stop_target": tuple({"when": [EMA], **one} for one in STOPS),
    "trigger": tuple({"when": [EMA], **one} for one in TRIGGERS),
    "twap": tuple({"when": [EMA], **one} for one in TWAPS),
    "sizing": tuple({"when": [EMA], **one} for one in SIZINGS),
    "fills": ({"when": [EMA]},) * 3,
}


def market(corners: Corners) -> Candles:
    """Candles through these corners, at a flat price for the warm-up."""
    scaled = [(PER_HOUR * hour, price) for hour, price in corners]
    return candles_along(scaled, 15 * MINUTE, start=BEGIN, before=PER_HOUR * WARM_HOURS)


def run_of(when: list[Options], candles: Candles, options: Options, execution: Options | None = None) -> Recording:
    """Run rules over such candles."""
    rules = {"timeframe": "1h", "when": when, **options}
    config = {"strategy": "rules", "rules": rules, **({"execution": execution} if execution else {})}
    return played(config, candles)


def said(when: list[Options], options: Options, run: Recording) -> tuple[Any, Any, tuple[Condition, ...]]:
    """Time of each signal bar's close (hours), what the conditions say at it, and the conditions."""
    read = RulesParameters(when=when, **options)
    rolled, combined = run.prepared.rollup(read.timeframe_ms), read.combined()
    column = combined.column(rolled.bars, np.arange(len(rolled.bars)))
    column[rolled.bars["ts"] < BEGIN] = np.nan  # of the block before, whose history is not all there
    return hours_of(run, BEGIN)[rolled.ends], column, combined.conditions


def shade(axes: Axes, times: Any, column: Any, hours: float = 1) -> None:
    """Shade what is said, from the close that said it to the next, so many hours later."""
    for value, colour in ((1.0, GAIN), (-1.0, LOSS), (CONFLICT, AVERAGE)):
        for time in times[column == value]:
            axes.axvspan(time, time + hours, color=colour, alpha=0.13, lw=0)


def draw_run(axes: Axes, title: str, run: Recording, when: list[Options], options: Options) -> tuple[Condition, ...]:
    """Draw a run under what its conditions said; returns these."""
    times, column, conditions = said(when, options, run)
    shade(axes, times, column, TIMEFRAMES[options.get("timeframe", "1h")] / HOUR)
    price_and_orders(axes, hours_of(run, BEGIN), run)
    quiet(axes, title)
    return conditions


def draw_condition(axes: Axes, run: Recording, one: Condition) -> None:
    """Draw what a condition reads, and its limits."""
    rolled = run.prepared.rollup(HOUR)
    times, rule = hours_of(run, BEGIN)[rolled.ends], one.rule
    outputs = outputs_of(one.indicator, one.parameters, rolled.bars)
    lag = rule.bars if rule.kind == "band" else 0
    low, high = axes.get_ylim()
    for name, style in zip((name for name in rule.reads if name not in PRICES), ("-", "--"), strict=False):
        label = one.indicator if name == "real" else name
        values = np.roll(outputs[name], lag)[times >= 0]
        axes.plot(times[times >= 0], values, style, color=AVERAGE, linewidth=1.0, label=label)
        low, high = min(low, values.min()), max(high, values.max())
    for limit in {getattr(rule, name) for name in LIMITS} - {None}:
        axes.axhline(limit, color=INK, linestyle=":", linewidth=0.8)
    axes.set_ylim(low, high + 0.25 * (high - low))
    axes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)


def kind_figure(name: str) -> Figure:
    """One kind of rule: the run, and the indicator over the price or beneath it."""
    title, when, options, corners = KINDS[name]
    run = run_of(when, market(corners), options)
    conditions = RulesParameters(when=when).combined().conditions
    beneath = [one for one in conditions if INDICATORS[one.indicator].group != "overlap"]
    figure, (prices, *strips) = panels(1 + len(beneath), 2.1, height_ratios=[2] + [1] * len(beneath), sharex=True)
    draw_run(prices, title, run, when, options)
    for one in conditions:
        if one not in beneath:
            draw_condition(prices, run, one)
    for axes, one in zip(strips, beneath, strict=True):
        draw_condition(axes, run, one)
        quiet(axes, "")
    figure.axes[-1].set_xlabel("hours", fontsize=8)
    return figure


def combine_figure() -> Figure:
    """Three conditions, and what they say together by `combine`."""
    figure, (*prices, rows) = panels(4, 1.9, sharex=True)
    for axes, options in zip(prices, COMBINES, strict=True):
        run = run_of(THREE, market(TREND), options)
        conditions = draw_run(axes, named({"combine": options["combine"]}), run, THREE, options)
    rolled = run.prepared.rollup(HOUR)
    times = hours_of(run, BEGIN)[rolled.ends]
    for row, one in enumerate(conditions):
        for side, colour in zip(one.sides(rolled.bars), (GAIN, LOSS), strict=True):
            rows.broken_barh([(time, 1) for time in times[side & (times > 0)]], (row - 0.35, 0.7), color=colour, lw=0)
    quiet(rows, "What each says: green LONG, red SHORT", "hours")
    rows.set_yticks(range(3), ["EMA", "ROC", "RSI"])
    return figure


def beneath_each_other(runs: tuple[Options, ...], corners: Corners) -> Figure:
    """Draw the same signals under different options."""
    figure, every = panels(len(runs), 1.9, sharex=True)
    for axes, options in zip(every, runs, strict=True):
        run = run_of([EMA], market(corners), options)
        draw_run(axes, named(options), run, [EMA], options)
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


def sizing_figure() -> Figure:
    """Money of each entry, and the accounts when it is made."""
    figure, every = panels(len(SIZINGS), 1.7, sharex=True)
    candles = market(GAINS)
    for axes, options in zip(every, SIZINGS, strict=True):
        run = run_of([EMA], candles, options)
        entries = run.fills[run.fills["signal"] == Signal.ENTRY]
        numbers = np.arange(1, len(entries) + 1)
        safe = [float(run_of([EMA], candles.between(None, int(one["ts"])), options).state.safe) for one in entries]
        axes.bar(numbers, entries["quantity"] * run.prepared.instrument.tick_value * entries["price"], color=ENTRY)
        axes.plot(numbers, run.equity()[entries["bar"] - 1], "o-", color=INK, markersize=4, linewidth=1, label="equity")
        axes.plot(numbers, safe, "s-", color=AVERAGE, markersize=4, linewidth=1, label="safe")
        quiet(axes, named(options))
        axes.set_xticks(numbers)
    every[0].set_ylim(0, 24_000)
    every[0].legend(fontsize=8, frameon=False, ncols=2, loc="upper left")
    every[-1].set_xlabel("entry", fontsize=8)
    return figure


def wick_figure(runs: tuple[Options, ...]) -> Figure:
    """A wick through a stop of 2 %, and later one to a target of 3 %."""
    figure, every = panels(len(runs), sharex=True)
    candles = market(((0, 100.0), (5, 99.4), (10, 100.4), (24, 101.4), (34, 103.6), (44, 101.0)))
    wicks = (candles.ts - BEGIN) / HOUR == 16.25
    candles = replace(candles, low=np.where(wicks, 97.6, candles.low))
    for axes, options in zip(every, runs, strict=True):
        run = run_of([EMA], candles, options)
        draw_run(axes, named(options) or "no stop, no target", run, [EMA], options)
        axes.vlines(hours_of(run, BEGIN), candles.low, candles.high, color=INK, linewidth=0.8)
        axes.set_ylim(97, 104.5)
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


def twap_figure() -> Figure:
    """The same signals traded at once, in slices, and in slices no worse than a limit."""
    figure, every = panels(2 * len(TWAPS), 1.3, height_ratios=[3, 1] * len(TWAPS), sharex=True)
    for prices, held, options in zip(every[::2], every[1::2], TWAPS, strict=True):
        run = run_of([EMA], market(WAVES), options)
        draw_run(prices, named(options), run, [EMA], options)
        held.fill_between(hours_of(run, BEGIN), run.holdings()[1], step="pre", color=ENTRY, alpha=0.4, linewidth=0)
        quiet(held, "held")
        held.set_yticks([])
    every[-1].set_xlabel("hours", fontsize=8)
    every[-1].set_xlim(0, 72)
    return figure


def conflict_figure() -> Figure:
    """RSI and EMA disagree: with `any` both sides hold, which is NEUTRAL."""
    when, options = [RSI, EMA], {**BOTH, "combine": "any"}
    run = run_of(when, market(WAVES), options)
    figure, (axes, strip) = panels(2, 1.9, height_ratios=[2, 1], sharex=True)
    rsi, ema = draw_run(axes, f"combine: any; conflicting_signals: {run.state.conflicting_signals}", run, when, options)
    draw_condition(axes, run, ema)
    draw_condition(strip, run, rsi)
    quiet(strip, "", "hours")
    return figure


def fills_figure() -> Figure:
    """The same decisions, filled at the next bar's opening and at the close that decided."""
    rules: tuple[Options, ...] = ({"fill_policy": "next_open"}, {"fill_policy": "close"}, {"preset": "close_fill"})
    figure, every = panels(len(rules), 1.9, sharex=True)
    for axes, execution in zip(every, rules, strict=True):
        run = run_of([EMA], gapped(), {}, execution)
        candles, hours = run.prepared.candles, hours_of(run, BEGIN) - 1
        shown = hours >= 0
        rises = candles.close >= candles.open
        axes.vlines(hours[shown] + 0.5, candles.low[shown], candles.high[shown], color=INK, linewidth=0.8)
        for up, colour in ((True, "white"), (False, INK)):
            some = shown & (rises == up)
            height = (candles.close - candles.open)[some]
            axes.bar(hours[some] + 0.5, height, 0.7, candles.open[some], color=colour, edgecolor=INK, linewidth=0.8)
        for one in run.fills:
            time = hours[one["bar"]] + (0 if execution == rules[0] else 1)
            colour = ENTRY if one["signal"] == Signal.ENTRY else LOSS if one["signal"] == Signal.EXIT_SL else GAIN
            axes.scatter(
                time, one["price"] * TICK, s=44, color=colour, marker="^" if one["side"] > 0 else "v", zorder=3
            )
        times, column, _ = said([EMA], {}, run)
        shade(axes, times, column)
        (key, value), fees = *execution.items(), float(run.pair.ledger.fees)
        quiet(axes, f"{key}: {value}; fees {fees:.2f}, ends with {run.equity()[-1]:,.2f}")
        axes.set_xlim(0, hours[-1] + 1)
    every[-1].set_xticks(range(0, 23, 2))
    every[-1].set_xlabel("hours", fontsize=8)
    return figure


def gapped() -> Candles:
    """Bars of an hour, each of which opens away from the close before."""
    candles = candles_along(((0, 100.0), (5, 98.6), (12, 101.4), (21, 98.4)), HOUR, start=BEGIN, before=WARM_HOURS)
    gaps = np.random.default_rng(5).normal(0.0, 0.25, len(candles))
    opens = np.round(candles.open + np.where(candles.ts >= BEGIN, gaps, 0.0), 2)
    high, low = np.maximum(candles.high, opens), np.minimum(candles.low, opens)
    return replace(candles, open=opens, high=high, low=low)


FIGURES = {
    **{name: partial(kind_figure, name) for name in KINDS},
    "combine": combine_figure,
    "conflict": conflict_figure,
    "direction": partial(beneath_each_other, DIRECTIONS, TREND),
    "timeframe": partial(beneath_each_other, LENGTHS, TREND),
    "stop_target": partial(wick_figure, STOPS),
    "trigger": partial(wick_figure, TRIGGERS),
    "twap": twap_figure,
    "sizing": sizing_figure,
    "fills": fills_figure,
}

if __name__ == "__main__":
    write("rules", FIGURES)
