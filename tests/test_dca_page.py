"""The page of DCA names every option that is off by default, and shows every picture that its script draws."""

from __future__ import annotations

import importlib.util
import re

from matplotlib.figure import Figure

from bot.order import Signal
from bot.sources import ROOT
from strategies.dca_parameters import DcaParameters

PAGE = (ROOT / "docs" / "dca.md").read_text(encoding="utf-8")
FIRST = {"preset", "warmup_bars", "direction", "adx_min", "price_zone", "rsi_limit", "band_tolerance", "volume_ratio"}
FIRST |= {
    "max_safety_orders",
    "safety_ratio",
    "step",
    "step_multiplier",
    "volume_multiplier",
    "stop_loss",
    "risk_budget",
}


def script():
    place = importlib.util.spec_from_file_location("pictures_of_dca", ROOT / "docs" / "pictures" / "dca.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def test_every_option_is_on_the_page():
    assert {name for name in DcaParameters.model_fields if f"`{name}" not in PAGE} - FIRST == set()


def test_every_picture_is_drawn_by_the_script_and_lies_beside_the_page(monkeypatch):
    drawn = script()
    shown = set(re.findall(r"\]\(dca/(\w+)\.png\)", PAGE))
    assert shown == {*drawn.PICTURES, "sizes"}
    assert all((ROOT / "docs" / "dca" / f"{name}.png").stat().st_size < 100_000 for name in shown)


def test_a_picture_shows_what_its_title_says():
    """What two targets leave ends at break-even, and without it at the third."""
    drawn = script()
    (plain, (title, options, corners)) = drawn.PICTURES["targets"]
    assert "break_even" in title
    run = drawn.played(options, corners)
    taken = [Signal.ENTRY, Signal.EXIT_TP, Signal.EXIT_TP]
    assert run.fills["signal"].tolist() == [*taken, Signal.EXIT_SL]
    assert run.fills["price"][-1] > run.fills["price"][0]
    assert drawn.played(*plain[1:]).fills["signal"].tolist() == [*taken, Signal.EXIT_TP]
    axes = Figure().subplots()
    drawn.draw(axes, title, run)
    assert len(axes.collections) >= len(run.fills)
