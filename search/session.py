"""A session: everything that decides the rows of a search, under a name that is a hash of it all.

The same question on the same candles by the same code has the same name: it continues, or is answered from what is
stored. Anything else is another session.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.candles import iso
from bot.sources import source_hash
from bot.strategy_file import own_sources

if TYPE_CHECKING:
    from pathlib import Path

    from search.reading import AnySpace
    from search.window import MarketHistory

ASIDE = ("top", "limits")  # of the section `search`: what changes no row


@dataclass(frozen=True)
class Session:
    """A search as it is stored."""

    name: str  # 16 hexadecimal digits
    kind: str  # sweep or walkforward
    snapshot: str  # of the candles
    code: str  # hash of the program's sources
    document: dict[str, Any]  # the space as it was written, JSON


def code_of(space: AnySpace) -> str:
    """Hash of the sources that play a space: the program's, and those of the user's own strategies."""
    return source_hash(_own_files(space))


def _own_files(space: AnySpace) -> list[Path]:
    """Sources of the user's own strategies in a space."""
    first: Any = space.first
    strategies = [one for one, _ in first.algorithm.trading()] if space.portfolio else [first.loaded]
    return sorted({path for one in strategies for path in own_sources(one.decide.__module__)})


def session_of(kind: str, space: AnySpace, market: MarketHistory) -> Session:
    """Name the session of a search."""
    search = {name: value for name, value in space.search.model_dump().items() if name not in ASIDE}
    search["method"] = str(space.search.method)
    document = json.loads(json.dumps({**space.document, "search": search}, default=str))
    code = code_of(space)
    start, end = market.span()
    facts = {
        "kind": kind,
        "space": document,
        "first": space.first.document(),  # strategies, presets and defaults as they come out
        "candles": market.snapshot(),
        "period": [iso(start), iso(end)],
        "venue": {pair: repr(one) for pair, one in market.fetched.items()},
        "funding": {pair: one.snapshot() for pair, one in market.funding.items()},
        "code": code,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Session(name, kind, market.snapshot(), code, document)
