# ruff: noqa: INP001, T201, a script of its own
"""Choose defaults on candles before 2025: walk-forward of each space under both fill bounds, ranked by the worse one.

    uv run python docs/research/study.py CANDLES [--only NAME] [--out FOLDER]

CANDLES holds VENUE/MARKET/PAIR/FILE.parquet, and funding/VENUE/linear/PAIR.parquet may lie beside it. Each study is a
YAML beside this file: a space of docs/search.md, and a section `study` with the file's name, and with pairs that choose
nothing and are looked at last. What was played is kept in FOLDER by window, so that a study that was interrupted goes
on; the findings are written there as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import yaml

from backtesting.funding import FundingHistory
from backtesting.metrics import YEAR_DAYS
from backtesting.run import BOUNDS
from bot.candles import iso
from search.chance import (
    Looks,
    active_returns,
    betas,
    deflated_sharpe,
    intervals,
    overfitting,
    resampled_days,
    variance_of,
    weights_of,
)
from search.reading import read_space
from search.runners import Threads
from search.sweep import period_of, played
from search.walk_forward import windows_of
from search.window import market_of, window_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from search.portfolio_space import PortfolioSpace
    from search.window import MarketHistory

HERE = Path(__file__).parent
END = "2025-01-01"  # nothing later chooses anything
SHOWN = ("annualised_return_pct", "max_drawdown_pct", "sharpe", "trades", "fees", "beta", "alpha_pct")
SHOWN += ("information_ratio", "mean_exposure_pct")


@dataclass(frozen=True)
class Panel:
    """A space under each bound, and the candles of its pairs."""

    told: str
    spaces: dict[str, PortfolioSpace]
    market: MarketHistory
    out: Path
    runner: Threads

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Every variant, (k,)."""
        return np.arange(self.spaces["pessimistic"].size)

    def scores(self, bound: str, start: int, end: int, numbers: NDArray[np.int64]) -> Any:
        """Scores (k,), daily returns (k, d) and those of the pairs held equally (d,); kept for the next time."""
        space = self.spaces[bound]
        told = (self.told, bound, self.market.snapshot(), start, end, numbers.tolist())
        file = self.out / "rows" / f"{hashlib.sha256(repr(told).encode()).hexdigest()[:20]}.npz"
        if not file.exists():
            window = window_of(space, self.market, start, end)
            scores, daily = played(self.runner, window, numbers)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part.npz")
            np.savez_compressed(part, scores=scores, daily=daily.astype(np.float32), pair=window.pair_daily[0])
            part.rename(file)
        kept = np.load(file)
        return kept["scores"], kept["daily"].astype(float), kept["pair"]

    def worse(self, start: int, end: int) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Information ratio of each variant under its worse bound (k,), undefined as -inf, and what each bound gave."""
        found = {bound: self.scores(bound, start, end, self.numbers) for bound in BOUNDS}
        ratios = np.stack([scores["information_ratio"] for scores, _, _ in found.values()])
        return np.nan_to_num(ratios.min(axis=0), nan=-np.inf), found


def funding_of(folder: Path, exchange: str, pairs: list[str]) -> dict[str, FundingHistory]:
    """Rates that the venue paid, where there are files; before and behind them the constant one counts."""
    files = {pair: folder.parent / "funding" / exchange / "linear" / f"{pair}.parquet" for pair in pairs}
    read = {pair: pl.read_parquet(file) for pair, file in files.items() if file.exists()}
    return {pair: FundingHistory(one["ts"].to_numpy(), one["rate"].to_numpy()) for pair, one in read.items()}


def panel_of(told: dict[str, Any], pairs: list[str], folder: Path, out: Path, runner: Threads) -> Panel:
    """Build the spaces of a study on these pairs."""
    study, raw = told["study"], {key: value for key, value in told.items() if key != "study"}
    spaces = {
        bound: read_space({**raw, "pairs": pairs, "execution": {**raw.get("execution", {}), **rules}})
        for bound, rules in BOUNDS.items()
    }
    where = folder / raw["exchange"] / raw["market"]
    files = {pair: where / pair / study["file"] for pair in pairs}
    market = market_of(spaces["pessimistic"].first, files, funding=funding_of(folder, raw["exchange"], pairs))
    return Panel(json.dumps([raw, pairs, sorted(market.funding)], default=str), spaces, market, out, runner)


def neighbourhood(panel: Panel, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each variant's value and its neighbours', one step along one axis away, (k,)."""
    lattice = panel.spaces["pessimistic"].lattice
    sizes = tuple(int(one) for one in lattice.sizes)
    grid = values.reshape(sizes)
    total, count = grid.copy(), np.ones(sizes)
    for axis, size in enumerate(sizes):
        if size < 2:
            continue
        ahead, behind = [slice(None)] * len(sizes), [slice(None)] * len(sizes)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        for to, source in ((tuple(behind), tuple(ahead)), (tuple(ahead), tuple(behind))):
            total[to] += grid[source]
            count[to] += 1
    return (total / count).ravel()


def chosen(panel: Panel, start: int, end: int) -> tuple[int, dict[str, Any]]:
    """The variant whose neighbourhood was best under its worse bound, and what was played to know it."""
    values, found = panel.worse(start, end)
    return int(np.argmax(neighbourhood(panel, np.maximum(values, -10.0)))), found


def summary(daily: NDArray[np.float64], pair: NDArray[np.float64]) -> dict[str, Any]:
    """Figures of daily returns (d,), and the interval that holds nine in ten of their resamples."""
    curve = np.cumprod(1.0 + daily)
    drawn = weights_of(resampled_days(len(daily))) / len(daily)
    years = YEAR_DAYS * 100.0
    beyond = intervals(daily, pair)
    return {
        "days": len(daily),
        "return_pct_a_year": (float(curve[-1]) ** (YEAR_DAYS / len(daily)) - 1.0) * 100.0,
        "mean_return_pct_a_year": float(daily.mean()) * years,
        "mean_return_interval": np.percentile(drawn @ daily * years, (5, 95)).tolist(),
        "sharpe": float(daily.mean() / max(daily.std(), 1e-12)) * YEAR_DAYS**0.5,
        "max_drawdown_pct": float(np.max(1.0 - curve / np.maximum.accumulate(np.maximum(curve, 1.0)))) * 100.0,
        "beta": float(betas(daily[None], pair)[0]),
        **{name: [one.value, one.low, one.high] for name, one in beyond.items()},
        "pairs_held_pct_a_year": (float(np.prod(1.0 + pair)) ** (YEAR_DAYS / len(pair)) - 1.0) * 100.0,
    }


def costs(scores: list[Any], months: float, pairs: int) -> dict[str, float]:
    """Share of costs in the gross profit, and round trips for each pair and month, over windows with equal money."""
    fees = sum(float(one["fees"]) for one in scores)
    net = sum(float(one["total_return_pct"]) for one in scores) * 100.0  # of 10,000
    trades = sum(float(one["trades"]) for one in scores)
    return {
        "fees": fees,
        "fees_pct_of_gross": 100.0 * fees / (net + fees) if net + fees > 0.0 else float("nan"),
        "round_trips_a_pair_and_month": trades / months / pairs,
        "mean_exposure_pct": float(np.mean([one["mean_exposure_pct"] for one in scores])),
    }


def forward(panel: Panel, trials: int) -> dict[str, Any]:
    """Walk forward: every window is traded by what the days before it chose; the joined days under both bounds."""
    space = panel.spaces["pessimistic"]
    embargo, windows = windows_of(space, panel.market)
    days: dict[str, list[NDArray[np.float64]]] = {bound: [] for bound in BOUNDS}
    scores: dict[str, list[Any]] = {bound: [] for bound in BOUNDS}
    held, folds = [], []
    for first, until, begin, end in windows:
        number, _ = chosen(panel, first, until)
        for bound in BOUNDS:
            got, daily, pair = panel.scores(bound, begin, end, np.array([number]))
            days[bound].append(daily[0])
            scores[bound].append(got[0])
        held.append(pair)
        folds.append({"from": iso(begin)[:10], "to": iso(end)[:10], **space.values(number)})
        folds[-1] |= {"return_pct": float(scores["pessimistic"][-1]["total_return_pct"])}
        folds[-1] |= {"pairs_held_pct": (float(np.prod(1.0 + pair)) - 1.0) * 100.0}
    pair, months = np.concatenate(held), len(np.concatenate(held)) / 30.4
    found: dict[str, Any] = {"embargo_days": embargo, "windows": folds}
    for bound in BOUNDS:
        joined = np.concatenate(days[bound])
        found[bound] = {**summary(joined, pair), **costs(scores[bound], months, len(space.first.pairs))}
        active = active_returns(joined[None], pair)[0]
        found[bound]["deflated_sharpe"] = deflated_sharpe(active, trials, 1.0 / len(joined))
    found["curves"] = {bound: np.cumprod(1.0 + np.concatenate(days[bound])).round(5).tolist() for bound in BOUNDS}
    found["held"] = np.cumprod(1.0 + pair).round(5).tolist()
    found["begins"] = windows[0][2]
    return found


def figures(score: Any) -> dict[str, float]:
    """Some figures of a score."""
    return {name: round(float(score[name]), 2) for name in SHOWN}


def whole(panel: Panel, other: Panel | None) -> dict[str, Any]:
    """Choose on the whole period, and show the choice beside all others, and on pairs that chose nothing."""
    space = panel.spaces["pessimistic"]
    start, end = period_of(space, panel.market)
    number, found = chosen(panel, start, end)
    worse, _ = panel.worse(start, end)
    scores, daily, pair = found["pessimistic"]
    looks = Looks(pair)
    blocks = looks.add(daily)
    told: dict[str, Any] = {
        "chosen": space.values(number),
        "superior_ability": looks.superior_ability,
        "overfitting": overfitting(blocks, len(pair)),
        "in_sample": {bound: figures(found[bound][0][number]) for bound in BOUNDS},
        "in_sample_days": summary(daily[number], pair),
        "variance_of_trials": variance_of(scores["information_ratio"], len(pair)),
        "positive_alpha_share": float(np.mean(scores["alpha_pct"] > 0.0)),
        "information_ratio_quartiles": np.percentile(worse, (0, 25, 50, 75, 100)).round(2).tolist(),
        "by_axis": by_axis(panel, worse),
    }
    if other is not None:
        begin, until = period_of(other.spaces["pessimistic"], other.market)
        told["other_pairs"] = {"from": iso(begin)[:10], "to": iso(until)[:10]}
        for bound in BOUNDS:
            got, days, held = other.scores(bound, begin, until, np.array([number]))
            told["other_pairs"][bound] = {**figures(got[0]), **summary(days[0], held)}
    return told


def by_axis(panel: Panel, worse: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Median information ratio, under the worse bound, of all variants that have a value of an axis in common."""
    space = panel.spaces["pessimistic"]
    values = [space.values(number) for number in panel.numbers.tolist()]
    return {
        axis.key: {
            str(one): round(float(np.median([worse[k] for k, row in enumerate(values) if row[axis.key] == one])), 3)
            for one in dict.fromkeys(row[axis.key] for row in values)
        }
        for axis in space.axes
    }


def study(file: Path, folder: Path, out: Path, runner: Threads, trials: dict[str, int]) -> dict[str, Any]:
    """Play one study, and write and draw what was found."""
    told = yaml.safe_load(file.read_text())
    told.setdefault("to", END)
    panel = panel_of(told, told["pairs"], folder, out, runner)
    others = told["study"].get("others")
    other = panel_of(told, others, folder, out, runner) if others else None
    windows = len(windows_of(panel.spaces["pessimistic"], panel.market)[1])
    trials[file.stem] = len(panel.numbers) * (windows + 1) * len(BOUNDS)
    found = {"study": file.stem, "variants": len(panel.numbers), "trials": trials[file.stem]}
    found["trials_so_far"] = sum(trials.values())
    found |= {"walk_forward": forward(panel, sum(trials.values())), "whole": whole(panel, other)}
    (out / f"{file.stem}.json").write_text(json.dumps(found, indent=1))
    return found


def main() -> None:
    """Play the studies, one after the other."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("candles", type=Path)
    told.add_argument("--only", action="append", help="name of a study; all are played where none is named")
    told.add_argument("--out", type=Path, default=Path("research"))
    given = told.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    counted = given.out / "trials.json"
    trials = json.loads(counted.read_text()) if counted.exists() else {}
    with Threads(2) as runner:
        for file in sorted(HERE.glob("*.yaml")):
            if given.only and file.stem not in given.only:
                continue
            found = study(file, given.candles, given.out, runner, trials)
            counted.write_text(json.dumps(trials, indent=1))
            print(f"{file.stem}: {found['variants']} variants, walk-forward {found['walk_forward']['pessimistic']}")


if __name__ == "__main__":
    main()
