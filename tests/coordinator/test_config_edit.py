"""One value of a config's text is changed; everything else of the text stays as it is written."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Misconfigured
from coordinator.config_edit import with_value

TEXT = """# mine
version: 1
grid:  # the grid
  levels: 15  # many
  stop_loss: 0.05
risk: {halt_drawdown: 0.3}
"""


@pytest.mark.parametrize(
    ("text", "key", "value", "changed"),
    [
        (TEXT, "grid.levels", 12, TEXT.replace("15 ", "12 ")),
        (TEXT, "grid.stop_loss", 1e-05, TEXT.replace("0.05", "1.0e-05")),
        (TEXT, "risk.halt_drawdown", 0.25, TEXT.replace("0.3}", "0.25}")),
        (TEXT, "risk.reserve", True, TEXT.replace("{halt", "{reserve: true, halt")),
        (TEXT, "grid.spacing", "geometric", TEXT.replace("  levels", "  spacing: geometric\n  levels")),
        (TEXT, "smc.enabled", False, f"{TEXT}smc:\n  enabled: false\n"),
        ("version: 1\ngrid: {}\n", "grid.levels", 9, "version: 1\ngrid: {levels: 9}\n"),
        ("grid:\n    levels: '15'", "grid.levels", 9, "grid:\n    levels: 9"),
        ("version: 1", "grid.levels", 9, "version: 1\ngrid:\n  levels: 9\n"),
    ],
)
def test_one_value_is_changed_and_comments_stay(text, key, value, changed):
    assert with_value(text, key, value) == changed


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {levels: 1}\ngrid: *a\nother: *a\n",
        "grid:\nrisk: {}\n",
        "grid: none\n",
        "{version: 1}\n",
        "base: &b {levels: 2}\ngrid: {<<: *b, levels: 3, levels: 4}\n",
    ],
)
def test_what_is_written_in_an_odd_way_is_left_alone(text):
    with pytest.raises(Misconfigured, match=r"grid.levels cannot be changed from here as the config file is written"):
        with_value(text, "grid.levels", 7)


WORDS = st.text(st.characters(codec="ascii", categories=("Ll",)), min_size=1, max_size=6)
VALUES = st.one_of(st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), WORDS, st.text(max_size=8))


@given(
    st.dictionaries(WORDS, st.dictionaries(WORDS, VALUES, max_size=4), min_size=1, max_size=4), VALUES, st.booleans()
)
def test_whatever_is_written_only_that_value_differs_or_it_is_refused(values, value, flow):
    text = yaml.safe_dump(values, default_flow_style=flow or None)
    section = next(iter(values))
    key = f"{section}.{next(iter(values[section]), 'levels')}"
    try:
        changed = with_value(text, key, value)
    except Misconfigured:
        return
    wanted = {**values, section: {**values[section], key.split(".")[1]: value}}
    assert yaml.safe_load(changed) == wanted
