"""The page on grids of exchanges: its configs run, have as many cells as it says, and its report's words exist."""

from __future__ import annotations

import re

import pytest
import yaml

from backtesting.reports.page import run_page
from backtesting.run import simulate
from bot.sources import ROOT
from strategies.grid.parameters import GridParameters
from tests.conftest import bars, walk

PAGE = (ROOT / "docs" / "exchange_grids.md").read_text(encoding="utf-8")
CONFIGS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("place", range(len(CONFIGS)))
def test_what_is_typed_in_trades_and_is_reported_in_the_words_of_the_page(place):
    result = simulate(CONFIGS[place], walk(9000, seed=3, start=98_500.0))
    assert result.document.grid.cycles > 5
    page = run_page(result)
    rows = re.search(r"## What the report says(.*)", PAGE, re.DOTALL).group(1)
    for words in set(re.findall(r"\*([A-Z][^*]+)\*", rows)):
        assert words in page, words


def test_twenty_grids_lie_between_twenty_one_levels():
    """Half of the cells hold what was bought at once and sell it above, half wait to buy below."""
    flat = bars(*[(100_000.0, 100_050.0, 99_950.0, 100_000.0)] * 30)
    result = simulate(CONFIGS[0], flat)
    last = result.levels.filter(result.levels["ts_to"] == result.levels["ts_to"].max())
    resting = last.filter(last["kind"] == "limit")
    assert len(resting) == 20
    stop = last.filter(last["kind"] == "stop")["price"].to_list()
    assert stop == [85_000.0]
    assert result.document.grid.committed_pct == pytest.approx(100.0)


def test_every_option_on_the_page_is_one_of_the_grid():
    named = set(re.findall(r"`(\w+)(?:: [^`]*)?`", PAGE)) - {"exchange", "keep", "suggest", "grid"}
    known = set(GridParameters.model_fields) | {"capital", "market", "leverage"}
    assert named - known == set()
