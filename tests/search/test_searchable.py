"""Parameters as data: what is told of each is what the models refuse, and what a space takes."""

from __future__ import annotations

import json

import pytest

from bot.errors import Misconfigured
from coordinator.config import load_single, strategy_named
from search.axes import axes_of
from search.searchable import SearchUse, parameters_of

BUILT_IN = ("grid", "dca", "trend", "rules")
ROWS = [row for name in BUILT_IN for row in parameters_of(strategy_named(name))]


def by_name(name):
    return next(row for row in ROWS if row["name"] == name)


def test_every_parameter_is_there_and_json_takes_it():
    assert json.loads(json.dumps(ROWS)) == ROWS
    for name in BUILT_IN:
        fields = set(strategy_named(name).parameters.model_fields) - {"preset"}
        assert {row["name"] for row in ROWS if row["name"].startswith(f"{name}.")} == {
            f"{name}.{one}" for one in fields
        }


def test_units_bounds_and_uses_are_those_of_the_model():
    assert {key: by_name("trend.range_bars")[key] for key in ("unit", "lower", "upper", "default", "whole")} == {
        "unit": "signal bars", "lower": 2, "upper": 400, "default": 15, "whole": True,
    }  # fmt: skip
    assert by_name("grid.stop_loss")["unit"].startswith("fraction")
    assert by_name("rules.stop")["unit"] == "fraction"
    assert by_name("dca.step")["lower_included"] is False
    assert by_name("trend.direction")["words"] == ["both", "long", "short"]
    uses = {name: by_name(name)["search"] for name in ("trend.stop", "trend.exit", "trend.entries", "rules.when")}
    assert list(uses.values()) == [SearchUse.RANGE, SearchUse.WORDS, SearchUse.LISTS, SearchUse.INSIDE]
    assert by_name("trend.combine")["search"] == SearchUse.WORDS
    assert by_name("grid.stop_loss")["risk"] and not by_name("grid.levels")["risk"]
    assert by_name("dca.step")["by_class"]["meme"] == [0.04, 0.08]


@pytest.mark.parametrize("row", [row for row in ROWS if row["search"] == SearchUse.RANGE], ids=lambda row: row["name"])
def test_a_value_beyond_a_bound_is_refused_and_a_range_is_an_axis(row):
    section, _, key = row["name"].partition(".")
    for bound, away in ((row["lower"], -1), (row["upper"], 1)):
        if bound is not None:
            with pytest.raises(Misconfigured, match=key):
                load_single({"strategy": section, "pair": "BTCUSDT", section: {key: bound + away}})
    low = row["lower"] if row["lower_included"] else (row["lower"] or 0) + 1
    top = {"from": low, "to": low + 2, "step": 1}
    model = strategy_named(section).parameters
    if row["upper"] is None or row["upper"] > low + 2:
        (axis,) = axes_of(model, {key: top}, section)
        assert len(axis.values) == 3
