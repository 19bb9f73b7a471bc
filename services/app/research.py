"""Searches by kind, from a space to what is kept of them: for commands and for jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any

import yaml

from bot.candles import iso
from bot.errors import Misconfigured, cut
from search.objective import HIGHEST_IS_BEST
from search.session import session_of
from search.sweep import NOTHING_PASSES, sweep
from search.walk_forward import NEXT_FAILS, walk_forward
from search.window import together
from services.app.backtest import market_for
from services.app.search import run_search, runner_of
from services.runtime.config import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.exploration import Progress
    from search.reading import AnySpace
    from search.session import Session
    from search.sweep import Sweep
    from search.walk_forward import WalkForward
    from search.window import MarketHistory


KEPT_ROWS = 100  # of the best, that a session keeps with their figures


class SearchKind(StrEnum):
    """What a search does with its space."""

    SWEEP = "sweep"
    WALK_FORWARD = "walkforward"


def kept_of_sweep(found: Sweep) -> dict[str, Any]:
    """What a session keeps of a sweep: sentences, the best row, its config as YAML, and the best rows for pages."""
    best = found.frame.head(1).to_dicts()[0]
    kept = {"verdict": found.verdict, "best": json.loads(json.dumps(best, default=str))}
    rows = [row_of(found, place) for place in range(min(len(found.held_out), KEPT_ROWS))]
    return {**kept, "config": config_of_sweep(found), "rows": rows}


def row_of(found: Sweep, place: int) -> dict[str, Any]:
    """One of the best by its place, in sample beside held out, as JSON has it."""
    number = int(found.numbers[place])
    return {
        "rank": place + 1,
        "variant": number,
        "variant_key": found.space.key(number),
        "parameters": found.space.values(number),
        "passed": bool(found.passed[place]),
        "in_sample": _figures(found.scores[place]),
        "held_out": _figures(found.held_out[place]),
    }


def _figures(score: Any) -> dict[str, float | None]:
    """A score's figures; what is undefined, or without end, has none."""
    values = ((name, float(score[name])) for name in HIGHEST_IS_BEST)
    return {name: value if isfinite(value) else None for name, value in values}


def kept_of_windows(found: WalkForward) -> dict[str, Any]:
    """What a session keeps of a walk-forward: sentences, a row for each window, and the next config as YAML."""
    windows = json.loads(json.dumps(found.frame.to_dicts(), default=str))
    return {"verdict": found.verdict, "windows": windows, "config": config_of_windows(found)}


SEARCHES: dict[SearchKind, tuple[Callable[..., Any], Callable[[Any], dict[str, Any]]]] = {
    SearchKind.SWEEP: (sweep, kept_of_sweep),
    SearchKind.WALK_FORWARD: (walk_forward, kept_of_windows),
}


@dataclass(frozen=True)
class ReadySearch:
    """A search with its candles, under the name of its session."""

    kind: SearchKind
    space: AnySpace
    market: MarketHistory
    session: Session

    async def run(
        self,
        data_dir: Path,
        told: Callable[[Progress], None],
        *,
        workers: int = 0,
        ray: str = "",
        address: str = EMBEDDED,
    ) -> Any:
        """Run it with its rows in the database at `address`; returns what was found."""
        search, kept = SEARCHES[self.kind]

        def searched(trials: Any, told: Any) -> Any:
            known = {"fetched": self.market.fetched, "funding": self.market.funding}
            with runner_of(self.space, self.market, workers, ray) as runner:
                return search(self.space, self.market.candles, **known, runner=runner, trials=trials, progress=told)

        return await run_search(data_dir, self.session, searched, told, kept, address)

    def kept(self, found: Any) -> dict[str, Any]:
        """What its session keeps of what was found."""
        return SEARCHES[self.kind][1](found)


def ready_search(kind: SearchKind, space: AnySpace, candles: Path | None, data_dir: Path) -> ReadySearch:
    """Find the candles of a search in the data directory, or take a file, and name its session."""
    if candles is not None and len(space.firsts) > 1:
        raise Misconfigured(
            f"--candles is {cut(str(candles))}, one file, and {len(space.firsts)} pairs are searched; import their "
            "candles into the store."
        )
    market = together([market_for(first, candles, data_dir) for first in space.firsts])
    return ReadySearch(kind, space, market, session_of(kind, space, market))


def config_of_sweep(found: Sweep) -> str:
    """The best as a config, which says in comments where it comes from and what it is worth."""
    start, split, end = (iso(one)[:10] for one in (found.start, found.split, found.end))
    first = (
        f"The best of {len(found.numbers):,} variants by {found.space.search.method} and "
        f"{found.space.objective.metrics[0].text}, chosen on {start} to {split} and tried on {split} to {end}."
    )
    fails = () if found.passed.any() else (NOTHING_PASSES,)
    return _commented((first, *fails, *found.verdict[:3]), found.best)


def config_of_windows(found: WalkForward) -> str:
    """The config of the next window, which says the same, and what those before it were worth."""
    start, end = (iso(one)[:10] for one in found.next.train)
    first = (
        f"The best of {found.next.tried:,} variants by {found.space.search.method} and "
        f"{found.space.objective.metrics[0].text}, chosen on {start} to {end}, the last days of the candles, for the "
        f"{found.space.search.walk_forward.test_days} days from then on. What was so chosen before:"
    )
    fails = () if found.next.passed else (NEXT_FAILS,)
    return _commented((first, *found.verdict[:3], *fails), found.next_config)


def _commented(sentences: tuple[str, ...], config: Any) -> str:
    comments = "".join(f"# {sentence}\n" for sentence in sentences)
    return comments + yaml.safe_dump(config.document(), sort_keys=False)
