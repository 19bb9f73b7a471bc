"""The page of each strategy names its options and shows what each does, by pictures that its script draws."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bot.order import Signal
from bot.sources import ROOT
from bot.times import DAY, HOUR
from strategies.dca_parameters import DcaParameters
from strategies.grid.parameters import GridParameters
from strategies.rules import RulesParameters
from strategies.trend import TrendParameters

DOCS = ROOT / "docs"
PARAMETERS = {"grid": GridParameters, "dca": DcaParameters, "trend": TrendParameters, "rules": RulesParameters}


def page(name):
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def options_shown(name):
    """The options that the page names under each picture."""
    pictures = re.findall(rf"!\[([^\]]*)\]\({name}/(\w+)\.png\)", page(name))
    return {picture: set(re.findall(r"\w+", words)) & set(PARAMETERS[name].model_fields) for words, picture in pictures}


def options_without_a_picture(name):
    """The options of which the page says why there is nothing to look at."""
    _, _, rest = page(name).partition("Nothing to look at\n")
    table, _, _ = rest.partition("\n#")
    rows = re.findall(r"^\| (`.+) \| (.+) \|$", table, re.MULTILINE)
    return {option for options, reason in rows if reason.strip() for option in re.findall(r"`(\w+)`", options)}


@pytest.fixture
def script(monkeypatch):
    """Load a script of the documentation by its folder and name."""
    monkeypatch.syspath_prepend(DOCS / "pictures")

    def load(folder, name):
        place = importlib.util.spec_from_file_location(f"{folder}_of_{name}", DOCS / folder / f"{name}.py")
        module = importlib.util.module_from_spec(place)
        place.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_option_is_on_the_page_with_a_picture_or_a_reason_for_none(name):
    text, options = page(name), set(PARAMETERS[name].model_fields)
    explained = {one for one in options if re.search(rf"`{one}\b|^ *{one}:", text, re.MULTILINE)}
    assert options - explained == set()
    shown, reasoned = set().union(*options_shown(name).values()), options_without_a_picture(name)
    assert options - shown == reasoned


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_picture_is_drawn_by_the_script_and_lies_beside_the_page(name, script):
    drawn, shown = script("pictures", name), set(options_shown(name))
    assert shown == set(drawn.FIGURES) == set(drawn.OPTIONS)
    assert {one.stem for one in (DOCS / name).glob("*.png")} == shown
    assert all((DOCS / name / f"{one}.png").stat().st_size < 60_000 for one in shown)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_runs_of_a_picture_differ_in_the_options_under_it(name, script):
    """Between each other, or a lone run from the defaults."""
    parameters, drawn = PARAMETERS[name], script("pictures", name)
    for picture, options in options_shown(name).items():
        runs = [parameters.model_validate(one) for one in drawn.OPTIONS[picture]]
        compared = runs if len(runs) > 1 else [parameters(), *runs]
        alike = {option for option in options if len({repr(getattr(one, option)) for one in compared}) == 1}
        assert (picture, alike) == (picture, set())


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_words_in_a_picture_name_the_options_under_it(name, script):
    if name == "rules":
        pytest.importorskip("talib")
    drawn = script("pictures", name)
    for picture, options in options_shown(name).items():
        if name == "rules" and picture in drawn.KINDS:  # whose titles are conditions of `when`
            continue
        written = " ".join(one.get_text() for one in drawn.FIGURES[picture]().findobj(Text))
        assert (picture, options - set(re.findall(r"\w+", written))) == (picture, set())


def test_two_targets_and_break_even(script):
    """What two targets leave ends at break-even, and without it at the third."""
    drawn = script("pictures", "dca")
    _, plain, moved = drawn.PICTURES["targets"]
    assert "break_even: true" in moved.title
    run = drawn.played(moved.given, moved.corners)
    taken = [Signal.ENTRY, Signal.EXIT_TP, Signal.EXIT_TP]
    assert run.fills["signal"].tolist() == [*taken, Signal.EXIT_SL]
    assert run.fills["price"][-1] > run.fills["price"][0]
    assert drawn.played(plain.given, plain.corners).fills["signal"].tolist() == [*taken, Signal.EXIT_TP]
    axes = Figure().subplots()
    drawn.draw(axes, moved.title, run)
    assert len(axes.collections) >= len(run.fills)


def test_a_trend_that_turns_is_left_at_break_even_with_half_before(script):
    drawn = script("pictures", "trend")

    def ends(name):
        return [drawn.played_by(one.given, one.corners).fills["signal"].tolist() for one in drawn.PICTURES[name]]

    assert ends("break_even_at") == [[Signal.ENTRY, Signal.EXIT_SL], [Signal.ENTRY, Signal.EXIT_TP]]
    loss = [Signal.ENTRY, Signal.EXIT_SL]
    assert ends("partial_at") == [loss, [Signal.ENTRY, Signal.EXIT_TP, Signal.EXIT_SL]]
    assert drawn.FIGURES["partial_at"]().axes[1].get_title(loc="left") == "target: 4, partial_at: 0.5"


def test_what_rules_are_drawn_with_is_what_they_did(script):
    pytest.importorskip("talib")
    drawn = script("pictures", "rules")
    when, options = [drawn.RSI, drawn.EMA], {**drawn.BOTH, "combine": "any"}
    run = drawn.run_of(when, drawn.market(drawn.WAVES), options)
    times, column, _ = drawn.said(when, options, run)
    counted = int(run.state.conflicting_signals)
    assert counted == np.count_nonzero(column == drawn.CONFLICT) > 20
    assert f"conflicting_signals: {counted}" in drawn.FIGURES["conflict"]().axes[0].get_title(loc="left")
    for one in run.fills[run.fills["signal"] == Signal.ENTRY]:  # filled by the bar after the close that said so
        decided = drawn.hours_of(run, drawn.BEGIN)[one["bar"] - 1]
        assert column[np.flatnonzero(times == decided)].tolist() == [one["side"]]


def test_the_figures_of_trend_are_those_of_its_runs(script, tmp_path, capsys):
    figures, hours, rng = script("figures", "trend"), np.arange(24 * 130), np.random.default_rng(3)
    close = np.round(100.0 * np.exp(0.3 * np.sin(hours / 100) + 0.01 * rng.standard_normal(len(hours))), 2)
    open_ = np.concatenate(([close[0]], close[:-1]))
    prices = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    ts, volume = 1_704_067_200_000 - 200 * DAY + HOUR * hours, rng.lognormal(9, 1, len(hours))
    (tmp_path / "COINUSDT").mkdir()
    pl.DataFrame({"ts": ts, **prices, "volume": volume}).write_parquet(tmp_path / "COINUSDT" / "1h.parquet")
    figures.main(tmp_path, 0)
    _, _, *rows, _ = capsys.readouterr().out.splitlines()
    cells = {cell[1].strip("` "): cell for cell in (row.split("|") for row in rows)}
    assert set(cells) == {*TrendParameters.presets(), "buy and hold"}
    candles = figures.read_candles(tmp_path / "COINUSDT" / "1h.parquet")
    told = figures.played("COINUSDT", candles, "classic", 0).metrics
    assert int(cells["classic"][2].replace(",", "")) == told.trades > 0
    assert cells["classic"][8].strip() == f"{told.total_return_pct:+.0f} %"
    earned, costs = (float(cells["classic"][k].strip(" %")) for k in (5, 6))
    assert costs == pytest.approx((told.fees + told.slippage - told.funding) / told.initial_capital * 100, abs=0.6)
    assert earned - costs == pytest.approx(told.total_return_pct, abs=1.1)
