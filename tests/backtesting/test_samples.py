"""Sample pictures: which trades, what they show, how far around; and the page on which a person confirms trades."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import polars as pl
import pytest

from backtesting.portfolio_result import ZoneSpan
from backtesting.reports.charts import png
from backtesting.reports.confirmation_page import confirmation_page
from backtesting.reports.samples import MOST_PICTURED, pictured_trade, sampled_ids
from backtesting.reports.trade_pictures import MOST_CANDLES, surroundings, trade_picture
from backtesting.validation import sampled_trades
from bot.errors import Misconfigured
from bot.times import MINUTE
from tests.backtesting.test_signals import CALM, played, row
from tests.backtesting.test_validation import changed, first, sound
from tests.browser import browser, needs_chromium
from tests.conftest import START, bars, play_interpreted


@pytest.fixture
def won(monkeypatch):
    """A long that a signal opened in the second bar and its target closed in the fifth."""
    play_interpreted(monkeypatch, "signals")
    return played(bars(CALM, CALM, CALM, CALM, (100.0, 104.5, 99.9, 104.0), CALM), row())


def pictured(result, zones=(), regimes=()):
    trade = result.trades.row(0, named=True)
    return pictured_trade(trade, result.levels, zones, regimes, last=int(result.candles["ts"][-1]))


def test_every_nth_trade_by_entry_is_pictured_the_first_among_them():
    trades = sound().trades
    assert sampled_ids(trades.reverse(), 10) == [1, 11, 21]
    many = pl.concat([trades] * 200)
    with pytest.raises(Misconfigured, match=r"samples is 1, which pictures 6,000 .* give at least 12"):
        sampled_ids(many, 1)
    assert len(sampled_ids(many, 12)) == MOST_PICTURED


def test_a_picture_knows_stop_target_entry_and_exit(won):
    trade = pictured(won)
    assert trade.entry == (START + MINUTE, 100.0)
    assert trade.leave == (START + 4 * MINUTE, 104.0)
    assert {price for _, _, price in trade.stops} == {98.0}
    assert {price for _, _, price in trade.targets} == {104.0}
    for start, end, _ in (*trade.stops, *trade.targets):
        assert START + MINUTE <= start <= end <= START + 4 * MINUTE


def test_zones_that_lived_then_are_shown_the_nearest_first_and_the_regime_of_the_entry(won):
    near, far = (
        ZoneSpan("demand", START, START + 9 * MINUTE, 99.0, 99.5),
        ZoneSpan("supply", 0, 2 * START, 110.0, 111.0),
    )
    dead = ZoneSpan("demand", 0, START, 99.9, 100.0)
    spans = [(START, START + MINUTE, "unknown"), (START + MINUTE, START + 9 * MINUTE, "bull_trend")]
    trade = pictured(won, [far, dead, near], spans)
    assert trade.zones == (near, far)
    assert trade.regime == "bull_trend"


def test_what_is_annotated_differs_and_the_same_picture_has_the_same_bytes(won):
    trade, around = pictured(won), won.candles
    drawn = {annotated: png(trade_picture(trade, around, annotated=annotated)) for annotated in (True, False)}
    assert drawn[True] != drawn[False]
    assert drawn[True] == png(trade_picture(trade, around, annotated=True))
    shown = {
        annotated: {text.get_text().strip() for text in trade_picture(trade, around, annotated=annotated).axes[0].texts}
        for annotated in (True, False)
    }
    assert shown[True] - shown[False] == {"entry 100", "exit 104", "stop 98", "target 104"}
    assert shown[False] == {"2024-01-01"}


@pytest.mark.parametrize("minutes", [0, 5, 500, 1_900])
def test_surroundings_hold_the_trade_and_few_candles(minutes):
    candles = sound().candles
    start = START + 30 * MINUTE
    around = surroundings(candles, start, start + minutes * MINUTE)
    assert 2 <= around.height <= MOST_CANDLES + 2
    assert around["ts"][0] <= start
    assert around["ts"][-1] + max(int(around["ts"].diff().max()), MINUTE) >= start + minutes * MINUTE


# The page


def page_of(tables, count=3):
    return confirmation_page(
        tables, sampled_trades(tables, count), "trend-BTCUSDT", "traderagent validate x --confirm y"
    )


def test_a_page_has_each_sampled_trade_with_its_picture_and_escapes_what_it_shows():
    odd = changed(sound(), exit_reason=pl.lit("<script>alert(1)</script>"))
    page = page_of(odd)
    assert page.count('<section class="trade">') == page.count("data:image/png;base64,") == 3
    assert "<script>alert" not in page
    assert page == page_of(odd)


def test_a_damaged_trade_is_told_on_the_page_and_not_drawn():
    broken = changed(sound(), pnl=first("pnl", float("nan"), 30))
    assert page_of(broken).count("cannot be drawn") == 3
    backwards = changed(sound(), exit_time=first("exit_time", pl.col("entry_time") - 9_000 * MINUTE, 30))
    assert page_of(backwards).count("cannot be drawn") == 3
    assert page_of(replace(backwards, zones=None))


@needs_chromium
def test_answers_become_a_file_and_nothing_is_asked_of_a_network(tmp_path):
    tables = sound()
    path = tmp_path / "validation.html"
    path.write_text(page_of(tables), encoding="utf-8")
    saved = asyncio.run(answered(path))
    assert saved["counts"] == ["0 of 3 answered", "2 of 3 answered"]
    asked = sampled_trades(tables, 3)
    assert json.loads(saved["text"]) == {
        "run_id": tables.run_id,
        "answers": [
            {"pair": asked[0][0], "trade_id": asked[0][1], "answer": "right", "note": "as it should"},
            {"pair": asked[2][0], "trade_id": asked[2][1], "answer": "wrong", "note": ""},
        ],
    }
    assert saved["name"] == f"answers-{tables.run_id}.json"
    assert saved["fits"]


async def answered(path):
    """Answer two of three trades on a phone's screen, save, and return what was saved."""
    script = """(async () => {
        const said = document.getElementById("said"), counts = [said.textContent];
        document.querySelector('input[name="trade-0"][value="right"]').click();
        document.querySelector('input[name="trade-2"][value="wrong"]').click();
        document.getElementById("note-0").value = " as it should ";
        counts.push(said.textContent);
        let blob, name;
        URL.createObjectURL = (given) => { blob = given; return "#"; };
        HTMLAnchorElement.prototype.click = function () { name = this.download; };
        document.getElementById("save").click();
        const fits = document.documentElement.scrollWidth <= window.innerWidth;
        return { counts, name, fits, text: await blob.text() };
    })()"""
    async with browser() as page:
        await page.size(390, 800)
        await page.open(path)
        saved = await page.run(script)
        urls = [one["request"]["url"] for one in page.troubles if "request" in one]
        assert [url for url in urls if not url.startswith(("file:", "data:", "about:"))] == []
        assert [one for one in page.troubles if "exceptionDetails" in one] == []
        return saved
