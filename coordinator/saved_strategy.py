"""A saved strategy: a strategy with all its parameters, without pairs, money and venue.

It is known by its content, a hash of the document in which every preset and default is resolved; whatever is changed is
another strategy. Its name says what it is: trend-4h-9f3c2a.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.sources import code_hash
from bot.strategy_file import own_sources
from coordinator.config import BacktestConfig, PortfolioConfig, load_portfolio
from coordinator.config_file import AUTO

if TYPE_CHECKING:
    from coordinator.config import Source

OF_THE_RUN = frozenset(
    {
        *("version", "exchange", "market", "bar", "from", "to", "capital", "investments", "leverage", "execution"),
        *("pair", "pairs", "candles", "instrument", "instruments"),
    }
)
SHORT, LONG = 6, 12  # digits of the content in a name, and in one whose short name another has
ANY_PAIR = "BTCUSDT"  # stands for the pairs that a strategy does not name, where one is needed to validate it


@dataclass(frozen=True)
class SavedStrategy:
    """A strategy as it is saved; never changed."""

    content: str  # 16 hexadecimal digits
    strategy: str  # its name without a file
    timeframe: str
    document: dict[str, Any]  # sections of a config, every value resolved

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.strategy}-{self.timeframe}-{self.content[:SHORT]}"

    @property
    def long_name(self) -> str:
        """Its name where the short one is another's."""
        return f"{self.strategy}-{self.timeframe}-{self.content[:LONG]}"


def saved_strategy(config: BacktestConfig | PortfolioConfig) -> SavedStrategy:
    """Take the strategy out of a config; a config of one pair and the same of several share it."""
    whole = load_portfolio(config)
    document = {key: value for key, value in whole.document().items() if key not in OF_THE_RUN}
    trading = [strategy for strategy, _ in whole.algorithm.trading()]
    sources = {path: path.stem for strategy in trading for path in own_sources(strategy.decide.__module__)}
    name = AUTO if whole.strategy == AUTO else trading[0].name
    facts = {**document, "strategy": name, "sources": code_hash(sources) if sources else ""}
    content = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    section = document[AUTO if name == AUTO else name]
    return SavedStrategy(content, name, str(section["regime_timeframe" if name == AUTO else "timeframe"]), document)


def strategy_of(source: Source, changes: dict[str, Any] | None = None) -> SavedStrategy:
    """Read the strategy of a config, or of a saved document, `changes` laid over it; raises Misconfigured."""
    if isinstance(source, dict) and not ({"pair", "pairs"} & source.keys()):
        source = {**source, "pairs": _pairs_named(source) or [ANY_PAIR]}
    return saved_strategy(load_portfolio(source, changes))


def _pairs_named(document: dict[str, Any]) -> list[str]:
    """Pairs that the sections themselves name."""
    allocation, risk = document.get("allocation") or {}, document.get("risk") or {}
    return sorted({*(allocation.get("weights") or {}), *(risk.get("groups") or {})})
