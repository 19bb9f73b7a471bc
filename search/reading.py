"""Reads a space: a config in which some values are ranges or lists, and what the search is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.validation import validated
from coordinator.config import needs_portfolio
from coordinator.config_file import config_values
from search.numbered import SearchParameters
from search.pair_space import PAIR, PairSpace, space_of_pairs
from search.portfolio_space import PortfolioSpace, space_of_many
from search.space import Space, space_of_one

if TYPE_CHECKING:
    from pathlib import Path


AnySpace = Space | PairSpace | PortfolioSpace


def read_space(source: dict[str, Any] | str | Path, changes: dict[str, Any] | None = None) -> AnySpace:
    """Read a space from a dict or a YAML file, `changes` laid over its section `search`.

    Raises Misconfigured with one sentence for what is wrong.
    """
    values = config_values(source)
    told = values.pop("search", None) or {}
    search = validated(SearchParameters, {**told, **(changes or {})} if isinstance(told, dict) else told, "search")
    if needs_portfolio(values["strategy"], values):
        return space_of_many(values, search)
    if isinstance(values.get(PAIR), list):
        return space_of_pairs(values, search)
    return space_of_one(values, search)
