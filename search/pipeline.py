"""The chain from the candles of a pair to a preset: classify, search coarsely, search finely around the best, stress.

All that chooses, the class of the pair included, looks at the part in sample alone. The figures of the part held out
stand beside those in sample wherever either is told.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isnan
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.candles import iso
from bot.errors import Misconfigured, shown, suggestion
from bot.times import DAY
from search.axes import placed
from search.chance import SIGNIFICANT
from search.pair_classes import SEARCH_RANGES, PairClass, PairMovement, class_of, movement_of
from search.pair_scan import words_of
from search.stress import MONTHS
from search.window import midnight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bot.candles import Candles
    from search.axes import Axis
    from search.stress import Stressed
    from search.sweep import Sweep

HELD_OUT = 0.3  # last part of the candles, which chooses nothing
CLASS_DAYS = 730  # before the part held out, by which a pair is classified
PARTS = 4  # into which the fine search divides a step of the coarse one
FINE = {"method": "coarse_fine", "coarse": 3, "fine_steps": 2, "top": 1}
LONGEST_DAYS = 180  # that a preset stands
FIGURES = ("total_return_pct", "beta", "alpha_pct", "information_ratio", "max_drawdown_pct", "trades")
NOT_PLAYED = "it could not be played with this capital"  # on the days held out, as where prices are far higher
FINISHED, ABANDONED, FAILED = "finished", "abandoned", "failed"


@dataclass(frozen=True)
class PipelineQuestion:
    """What is asked of every pair."""

    strategy: str
    objective: str
    capital: float
    last_candles: int | None  # all of them if None
    max_drawdown: float  # %: a variant that fell further is not taken
    least_trades: int  # of a variant that is taken
    loss_days: int  # days in a row, in which
    max_loss: float  # the best may lose so much at most, %


def strategy_with_ranges(name: str) -> str:
    """Return the name of a strategy whose ranges are known; raises Misconfigured."""
    known = list(SEARCH_RANGES[PairClass.STABLE])
    if name not in known:
        raise Misconfigured(f"strategy is {shown(name)}, which has no search ranges; {suggestion(name, known)}.")
    return name


def split_of(candles: Candles) -> int:
    """Where the part held out begins, ms."""
    start, end = int(candles.ts[0]), int(candles.ts[-1]) + candles.bar_ms
    return midnight(end - HELD_OUT * (end - start))


def classified(candles: Candles, split: int) -> tuple[PairClass, PairMovement]:
    """Class of a pair by its last days before the split; raises Misconfigured of too few."""
    chosen_on = candles.between(split - CLASS_DAYS * DAY, split)
    if not len(chosen_on):
        raise Misconfigured(f"candles: none lie before {iso(split)}, which choose; take more of them.")
    movement = movement_of(chosen_on)
    kind, why = class_of(movement)
    if kind is None:
        raise Misconfigured(f"candles: the part in sample has {why} for a class; take more of them.")
    return kind, movement


def class_space(place: dict[str, Any], strategy: str, kind: PairClass, search: dict[str, Any]) -> dict[str, Any]:
    """Values of a space: the ranges of a class on a pair; `place`: pair, market, capital and the like."""
    return {**place, "strategy": strategy, strategy: SEARCH_RANGES[kind][strategy], "search": search}


def coarse_space(question: PipelineQuestion, place: dict[str, Any], kind: PairClass) -> dict[str, Any]:
    """Values of the first space of a pair."""
    search = {
        "objective": question.objective,
        "filters": [f"max_drawdown_pct <= {question.max_drawdown:g}", f"trades >= {question.least_trades}"],
        "held_out": HELD_OUT,
        "top": 1,
    }
    return class_space({**place, "capital": question.capital}, question.strategy, kind, search)


def fine_space(coarse: Sweep) -> dict[str, Any]:
    """Values of the second space: between the neighbours of the best, in smaller steps; words are those of the best."""
    values, name = coarse.space.source(), str(coarse.space.first.strategy)
    section, digits = values[name], coarse.space.digits(int(coarse.numbers[0]))
    for axis, digit in zip(coarse.space.axes, digits, strict=True):
        section = placed(section, axis.path, _around(axis, digit))
    return {**values, name: section, "search": {**values["search"], **FINE}}


def _around(axis: Axis, digit: int) -> Any:
    """The best value of an axis with those between it and its neighbours; the value alone where it has none."""
    best = axis.values[digit]
    if axis.words:
        return best
    found = {best}
    for neighbour in axis.values[max(digit - 1, 0) : digit + 2]:
        steps = [best + (neighbour - best) * part / PARTS for part in range(PARTS + 1)]
        whole = all(isinstance(one, int) for one in axis.values)
        found.update(round(one) if whole else float(f"{one:.6g}") for one in steps)
    return sorted(found) if len(found) > 1 else best


def worst_window(days: NDArray[np.float64], length: int) -> float:
    """Worst return of so many days in a row, or of all where there are fewer, %."""
    grown = np.concatenate(([1.0], np.cumprod(1.0 + days)))
    length = min(length, len(days))
    return float((grown[length:] / grown[: len(grown) - length]).min() - 1.0) * 100.0


def reason_to_abandon(found: Sweep, question: PipelineQuestion) -> str:
    """Why a pair is not worth another step, by the part in sample; empty where it is."""
    count, scores = len(found.numbers), found.scores
    if not found.passed[0]:
        least, most = float(np.min(scores["max_drawdown_pct"])), int(np.max(scores["trades"]))
        if least > question.max_drawdown:
            return (
                f"drawdown: each of {count:,} variants fell by {least:.1f} % or more in sample, over "
                f"{question.max_drawdown:g} %"
            )
        if most < question.least_trades:
            return (
                f"trades: none of {count:,} variants traded more than {most} times in sample, under "
                f"{question.least_trades}"
            )
        return (
            f"drawdown and trades: none of {count:,} variants kept its drawdown in sample within "
            f"{question.max_drawdown:g} % and traded {question.least_trades} times"
        )
    worst = worst_window(found.best_days[0], question.loss_days)
    if worst < -question.max_loss:
        return (
            f"loss window: the best lost {-worst:.1f} % in {question.loss_days} days in a row in sample, over "
            f"{question.max_loss:g} %"
        )
    return ""


def row_of_abandoned(place: dict[str, Any], status: str, reason: str, kind: PairClass | None) -> dict[str, Any]:
    """What is told of a pair that came to no preset."""
    return {**_names(place), "status": status, "reason": reason, "class": None if kind is None else str(kind)}


def row_of(
    place: dict[str, Any],
    kind: PairClass,
    movement: PairMovement,
    sessions: dict[str, str],
    found: Sweep,
    scenarios: Sequence[Stressed],
) -> dict[str, Any]:
    """What is told of a pair that has a preset, as plain values: figures in sample and held out, chance and stress."""
    start, split, end = (iso(one)[:10] for one in (found.start, found.split, found.end))
    alpha, evidence = found.evidence.held_out.get("alpha_pct"), found.evidence
    stands = min(found.end - found.split, LONGEST_DAYS * DAY)
    earned = [float(np.prod(1.0 + days) - 1.0) * 100.0 for days in found.pair_days]
    return {
        **_names(place),
        "status": FINISHED,
        "class": str(kind),
        "movement": asdict(movement),
        "sessions": sessions,
        "trials": evidence.trials,
        "in_sample": {"from": start, "to": split, **_figures(found.scores[0]), "pair_return_pct": earned[0]},
        "held_out": {"from": split, "to": end, **_figures(found.held_out[0]), "pair_return_pct": earned[1]},
        "alpha_held_out": None if alpha is None else asdict(alpha),
        "words": NOT_PLAYED if np.isnan(found.held_out[0]["total_return_pct"]) else words_of(alpha),
        "better_than_chance": evidence.better_than_chance,
        "deflated_sharpe": evidence.deflated_sharpe,
        "verdict": found.verdict,
        "stress": [_scenario(one, found.split) for one in scenarios],
        "expires": iso(found.end + stands)[:10],
    }


def _names(place: dict[str, Any]) -> dict[str, Any]:
    return {"symbol": place["pair"], "exchange": place.get("exchange"), "market": place.get("market")}


def _figures(score: Any) -> dict[str, float | None]:
    return {name: _known(float(score[name])) for name in FIGURES}


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _scenario(one: Stressed, split: int) -> dict[str, Any]:
    """A scenario, and which part of the candles it is played on."""
    part = "both"
    if one.name in MONTHS:
        begin, end, _ = MONTHS[one.name]
        part = "held_out" if begin >= iso(split)[:10] else "in_sample" if end <= iso(split)[:10] else "both"
    figures = None if one.figures is None else {name: _known(value) for name, value in one.figures.items()}
    return {"scenario": one.name, "what": one.what, "part": part, "figures": figures, "refused": one.refusal or None}


def worst_scenario(row: dict[str, Any]) -> dict[str, Any] | None:
    """The scenario of the lowest return, beside the period itself; None where none could be played."""
    played = [one for one in row["stress"][1:] if one["figures"] is not None]
    return min(played, key=lambda one: one["figures"]["total_return_pct"], default=None)


def preset_comments(name: str, row: dict[str, Any], question: PipelineQuestion) -> list[str]:
    """What a preset says of itself: where it comes from, what it is worth, and until when it stands."""
    inside, held = row["in_sample"], row["held_out"]
    worst, sessions = worst_scenario(row), ", ".join(f"{step} {one}" for step, one in row["sessions"].items())
    lines = [
        f"{question.strategy} on {row['symbol']}, a pair of class {row['class']}, as `traderagent pipeline` found it.",
        f"  traderagent backtest {name}.yaml",
        f"In sample, {inside['from']} to {inside['to']}: {_told(inside)}.",
        f"Held out, {held['from']} to {held['to']}: {_told(held)}.",
        f"Alpha held out: {_interval(row['alpha_held_out'])}{row['words']}.",
        *row["verdict"][:1],
        *([] if worst is None else [_stress_told(worst)]),
        f"Trials: {row['trials']:,}, by {question.objective}; sessions {sessions}.",
        f"Expires {row['expires']}: search again by then.",
    ]
    return [f"# {line}" for line in lines]


def _told(part: dict[str, Any]) -> str:
    if part["total_return_pct"] is None:
        return f"{NOT_PLAYED}, its pair {part['pair_return_pct']:,.1f} %"
    names = {"return": "total_return_pct", "largest drawdown": "max_drawdown_pct"}
    told = [f"{label} {part[name]:,.1f} %" for label, name in names.items()]
    if part["beta"] is not None:
        told.append(f"beta {part['beta']:.2f}, alpha {part['alpha_pct']:,.1f} % a year")
    return ", ".join((*told, f"{part['trades']:,.0f} trades, its pair {part['pair_return_pct']:,.1f} %"))


def _interval(alpha: dict[str, float] | None) -> str:
    if alpha is None:
        return ""
    return f"{alpha['value']:,.1f} % a year ({alpha['low']:,.1f} to {alpha['high']:,.1f}), "


def _stress_told(worst: dict[str, Any]) -> str:
    figures = worst["figures"]
    return (
        f"Worst under stress ({worst['part'].replace('_', ' ')}): {worst['scenario']}, return "
        f"{figures['total_return_pct']:,.1f} %, drawdown {figures['max_drawdown_pct']:,.1f} %."
    )


def pipeline_summary(question: PipelineQuestion, rows: Sequence[dict[str, Any]], minutes: float) -> dict[str, Any]:
    """What all pairs came to, in the order in which they were asked for."""
    count = {status: sum(row["status"] == status for row in rows) for status in (FINISHED, ABANDONED, FAILED)}
    whole = {"question": asdict(question), "total_pairs": len(rows), **count}
    return {**whole, "execution_time_minutes": round(minutes, 4), "verdict": verdict_of(rows), "pairs": list(rows)}


def verdict_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the whole chain says, in sentences: how many presets earned something held out, beside what luck gives."""
    done = [row for row in rows if row["status"] == FINISHED]
    left = [sum(row["status"] == status for row in rows) for status in (ABANDONED, FAILED)]
    told = f"{len(done):,} of {len(rows):,} pairs have a preset; abandoned: {left[0]:,}, failed: {left[1]:,}."
    known = [row["alpha_held_out"] for row in done if row["alpha_held_out"] is not None]
    if not known:
        return [told]
    above = sum(one["low"] > 0.0 for one in known)
    luck = (
        f"{above:,} of {len(known):,} presets have an alpha above nothing on the days held out; of as many without any "
        f"edge about {len(known) * SIGNIFICANT:.1f} would. The highest of several is the luckiest, and pairs move "
        "together."
    )
    sentences = [luck, told]
    both = [
        (row["in_sample"]["alpha_pct"], row["held_out"]["alpha_pct"])
        for row in done
        if None not in (row["in_sample"]["alpha_pct"], row["held_out"]["alpha_pct"])
    ]
    if both:
        inside, held = (median(values) for values in zip(*both, strict=True))
        sentences.append(
            f"The median alpha of {inside:,.1f} % a year in sample was {held:,.1f} % on the days held out."
        )
    return sentences
