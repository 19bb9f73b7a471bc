"""Staged requests: rank a space in two stages, and answer with its best variants.

The first stage plays everything but what sizes and protects, the second multiplies the best of it by that:
`search.methods`. A small request is answered at once, a larger one, or one that takes too long, becomes a job; both
give the same answer, which has nothing in it of when or how it was computed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.candles import iso
from bot.errors import Misconfigured, shown
from coordinator.config_file import config_values
from search.evidence import ranks_of
from search.reading import AnySpace, read_space
from services.app.research import ReadySearch, SearchKind, ready_search, row_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from search.exploration import Progress
    from search.sweep import Sweep

RANKINGS = (
    "total_return_pct",
    "max_drawdown_pct",
    "return_over_max_drawdown",
    "profit_factor",
    "alpha_pct",
    "information_ratio",
)
ANSWERED, KEPT = 300, 500  # rows of an answer, and of what is stored
AT_ONCE_VARIANTS = 5_000
AT_ONCE_BYTES = 64 << 20  # of the candles that are played
AT_ONCE_SECONDS = 30.0
SAID_BELOW = 0.5  # rank correlation of return with alpha, below which an answer says that they disagree
SET = ("method", "top")  # of `search`: what a staged request says by being one


@dataclass(frozen=True)
class StagedRequest:
    """A request that can be played: its space, and what it was asked as."""

    document: dict[str, Any]
    space: AnySpace
    ranking: tuple[str, ...]

    @property
    def request_hash(self) -> str:
        """Name of what was asked, 16 hexadecimal digits."""
        text = json.dumps(self.document, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_staged(source: dict[str, Any] | str | Path) -> StagedRequest:
    """Read a request, a space whose `search` says at most how to rank and what to leave out; raises Misconfigured."""
    document = config_values(source)
    search = document.get("search") or {}
    if isinstance(search, dict):
        for name in SET:
            if name in search:
                raise Misconfigured(f"search.{name} is set by a staged request itself; leave it out, or use `sweep`.")
    objective = search.get("objective") if isinstance(search, dict) else None
    ranking = tuple(objective) if isinstance(objective, list) else (objective or RANKINGS[0],)
    for one in ranking:
        if one not in RANKINGS:
            raise Misconfigured(f"search.objective is {shown(one)}; rank by one or two of {', '.join(RANKINGS)}.")
    document = json.loads(json.dumps(document, default=str))
    changes = {"method": "staged", "top": KEPT, "objective": list(ranking)}
    return StagedRequest(document, read_space(document, changes), ranking)


def ready_request(request: StagedRequest, data_dir: Path) -> ReadySearch:
    """Find the candles of a request."""
    return ready_search(SearchKind.SWEEP, request.space, None, data_dir)


def too_large_for_now(request: StagedRequest, search: ReadySearch) -> str | None:
    """Why a request becomes a job, or None where it may be answered at once."""
    if request.space.most > AT_ONCE_VARIANTS:
        return f"it may play {request.space.most:,} variants, over {AT_ONCE_VARIANTS:,}"
    size = search.market.size()
    if size > AT_ONCE_BYTES:
        return f"its candles take {size >> 20} MB, over {AT_ONCE_BYTES >> 20}"
    return None


async def answer_at_once(
    request: StagedRequest,
    search: ReadySearch,
    data_dir: Path,
    told: Callable[[Progress], None],
    seconds: float = AT_ONCE_SECONDS,
) -> dict[str, Any] | None:
    """Answer within a time, or None: what was played until then is kept, and a job goes on from it."""
    try:
        found = await asyncio.wait_for(search.run(data_dir, told), seconds)
    except TimeoutError:
        return None
    return answer_of(request, search, found)


def answer_of(request: StagedRequest, search: ReadySearch, found: Sweep) -> dict[str, Any]:
    """What is answered, and kept: hashes, counts, sentences and the best rows, in sample beside held out."""
    first, second = _stages(found)
    return {
        "request_hash": request.request_hash,
        "engine_hash": search.session.code,
        "session": search.session.name,
        "ranking": list(request.ranking),
        "period": {"from": iso(found.start), "split": iso(found.split), "to": iso(found.end)},
        "variants": {
            "space": request.space.size,
            "first_stage": first,
            "second_stage": second,
            "contradictory": found.found.excluded,
            "unplayable": found.found.unplayable,
        },
        "sentences": [*_of_the_market(found), *found.verdict],
        "rows": [row_of(found, place) for place in range(len(found.held_out))],
    }


def _stages(found: Sweep) -> tuple[int, int]:
    """How many rows each stage has."""
    lattice = found.space.lattice
    risk = lattice.digits(found.numbers)[:, np.array(lattice.risk, np.bool_)]
    second = int(np.count_nonzero(risk.any(axis=1)))
    return len(found.numbers) - second, second


def _of_the_market(found: Sweep) -> list[str]:
    """Say where the order by total return is not that by alpha: it ranks who held more, not who traded better."""
    returns, alpha = found.scores["total_return_pct"], found.scores["alpha_pct"]
    known = np.isfinite(returns) & np.isfinite(alpha)
    if np.count_nonzero(known) < 2:
        return []
    leading = int(np.flatnonzero(known)[np.argmax(alpha[known])])
    agreement = _rank_correlation(returns[known], alpha[known])
    if leading == 0 or agreement >= SAID_BELOW:
        return []
    first, other = found.scores[0], found.scores[leading]
    key = found.space.key(int(found.numbers[leading]))
    sentence = (
        f"Return and alpha disagree in sample (rank correlation {agreement:+.2f}): the first has a return of "
        f"{first['total_return_pct']:+.1f} % with beta {first['beta']:.2f} and alpha {first['alpha_pct']:+.1f} %; by "
        f"alpha {key} would lead, with {other['alpha_pct']:+.1f} % and a return of {other['total_return_pct']:+.1f} %."
    )
    return [sentence]


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; equal values in the order in which they stand. 1 where one does not vary."""
    if first.min() == first.max() or second.min() == second.max():
        return 1.0
    return float(np.corrcoef(ranks_of(first), ranks_of(second))[0, 1])
