"""The pair as an axis: rows are those of a search of each pair by itself, and chance is asked about all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bot.errors import Misconfigured
from bot.times import DAY, HOUR
from search.axes import short_key
from search.chance import Looks, active_returns
from search.reading import read_space
from search.report import sweep_page
from search.sweep import sweep
from search.walk_forward import walk_forward
from search.window import days_of_pair, market_of, window_of
from services.app.research import SearchKind, ready_search
from services.market_data.store import CandleStore
from tests.search.test_market_rules import plain  # noqa: F401, a fixture
from tests.search.test_score import SINCE, hours

DAYS, BEGIN = 45, SINCE - 2 * DAY  # the first block has its history
CANDLES = {
    name: replace(walked, volume=walked.volume * 500)
    for name, walked in (
        ("BTCUSDT", hours(DAYS * 24, 2, 0.006, since=BEGIN)),
        ("ETHUSDT", hours(DAYS * 24, 5, 0.008, since=BEGIN)),
    )
}
WHEN = [{"indicator": "RSI", "timeperiod": [3, 5], "long_below": [35, 45], "short_above": 60}]
SPACE = {
    "strategy": "rules",
    "exchange": "synth",
    "rules": {"when": WHEN, "timeframe": "1h", "direction": "long_short"},
    "search": {"objective": "total_return_pct"},
}
BOTH = {**SPACE, "pair": ["ETHUSDT", "BTCUSDT"]}


@pytest.fixture
def found(plain):  # noqa: F811
    return sweep(BOTH, CANDLES, workers=1)


def test_rows_are_those_of_each_pair_by_itself_and_say_which(plain, found):  # noqa: F811
    assert len(found.numbers) == 8 and found.frame["pair"].unique().sort().to_list() == ["BTCUSDT", "ETHUSDT"]
    assert sorted(found.numbers.tolist()) == list(range(8))
    for place, pair in enumerate(BOTH["pair"]):
        alone = sweep({**SPACE, "pair": pair}, {pair: CANDLES[pair]}, workers=1)
        here = found.scores[found.numbers // 4 == place]
        assert here.tobytes() == alone.scores.tobytes()
        assert np.array_equal(found.numbers[found.numbers // 4 == place] - 4 * place, alone.numbers)
        if found.best.pair == pair:
            assert found.held_out[:1].tobytes() == alone.held_out[:1].tobytes() and found.best == alone.best
            assert np.array_equal(found.pair_days[0], alone.pair_days[0])
    assert found.evidence.trials == 8 and found.scores["trades"].min() > 3


@pytest.mark.slow  # pictures
def test_the_page_names_the_pairs(found):
    assert "Search: rules on ETHUSDT, BTCUSDT" in sweep_page(found)
    assert [short_key(axis.key) for axis in found.space.axes] == ["pair", "when[0].timeperiod", "when[0].long_below"]


def test_chance_is_asked_about_every_trial_beside_its_own_pair(plain):  # noqa: F811
    space, market = read_space(BOTH), market_of(read_space(BOTH).first, CANDLES)
    window = window_of(space, market, *market.span())
    rows = window.job(np.array([1, 2, 5, 7]))()
    assert rows.numbers.tolist() == [1, 2, 5, 7] and window.pair_of(rows.numbers).tolist() == [0, 0, 1, 1]
    looks = Looks(window.pair_daily)
    looks.add(rows.daily, window.pair_of(rows.numbers))
    own = np.array(
        [
            active_returns(one[None], days_of_pair(window, number))[0]
            for number, one in zip(rows.numbers.tolist(), rows.daily, strict=True)
        ]
    )
    of_all = Looks(np.zeros(DAYS))
    of_all.add(own)
    assert looks.count == 4 and np.any(own)
    assert np.frombuffer(looks.state()) == pytest.approx(np.frombuffer(of_all.state()), rel=1e-9)
    assert not np.array_equal(window.pair_daily[0], window.pair_daily[1])


def test_a_walk_forward_trades_each_window_on_the_pair_that_was_best(plain):  # noqa: F811
    told = {**SPACE["search"], "walk_forward": {"train_days": 10, "test_days": 10, "embargo_days": 0}}
    rules = {**SPACE["rules"], "when": [{**WHEN[0], "timeperiod": 3}]}
    shorter = {pair: candles.between(None, BEGIN + 31 * DAY) for pair, candles in CANDLES.items()}
    walked = walk_forward({**BOTH, "rules": rules, "search": told}, shorter, workers=1)
    assert len(walked.folds) == 2
    for fold in walked.folds:
        pair = walked.space.values(fold.number)["pair"]
        candles = CANDLES[pair].between(*fold.test)
        assert fold.pair_returned == pytest.approx((candles.close[-1] / candles.open[0] - 1) * 100)
    assert walked.frame["pair"].to_list() == [walked.space.values(fold.number)["pair"] for fold in walked.folds]


def test_a_pair_that_ends_early_is_played_as_long_as_it_is(plain):  # noqa: F811
    """Zeros follow, and behind its end its variants are counted as not played."""
    candles = {**CANDLES, "ETHUSDT": CANDLES["ETHUSDT"].between(None, BEGIN + 20 * DAY)}
    space, market = read_space(BOTH), market_of(read_space(BOTH).first, candles)
    window = window_of(space, market, *market.span())
    rows = window.job(np.arange(8))()
    assert len(rows) == 8 and rows.daily.shape[1] == window.pair_daily.shape[1] > 40
    assert not rows.daily[:4, 25:].any() and rows.daily[4:, 25:].any()
    assert not window.pair_daily[0, 25:].any()
    behind = window_of(space, market, BEGIN + 30 * DAY, BEGIN + DAYS * DAY)
    rows = behind.job(np.arange(8))()
    assert rows.numbers.tolist() == [4, 5, 6, 7] and rows.unplayable == 4 and rows.refusal.startswith("ETHUSDT: ")
    assert behind.closing(0) == 0.0
    with pytest.raises(Misconfigured, match=r"ETHUSDT: .*holds no candles"):
        window_of(read_space({**SPACE, "pair": ["ETHUSDT"]}), market, BEGIN + 30 * DAY, BEGIN + DAYS * DAY)


def test_a_space_of_pairs_is_numbered_pair_by_pair():
    space = read_space(BOTH)
    assert [axis.key for axis in space.axes] == ["pair", "rules.when[0].timeperiod", "rules.when[0].long_below"]
    assert space.size == 8 and [one.pair for one in space.firsts] == BOTH["pair"]
    assert space.values(5) == {"pair": "BTCUSDT", "rules.when[0].timeperiod": 3, "rules.when[0].long_below": 45}
    assert space.config(5).pair == "BTCUSDT" and space.config(1).pair == "ETHUSDT"
    assert len({space.key(number) for number in range(8)}) == 8
    again = read_space(space.source())
    assert [again.key(number) for number in range(8)] == [space.key(number) for number in range(8)]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"pair": []}, "names none"),
        ({"pair": ["BTCUSDT", "btc/usdt"]}, "BTCUSDT twice"),
        ({"pair": ["BTCUSDT", 5]}, "no symbol"),
        ({"candles": "BTCUSDT-1m.parquet"}, "one file, and 2 pairs"),
        ({"exchange": ["bybit", "synth"]}, "give it one value"),
    ],
)
def test_what_cannot_be_searched_is_refused(more, told):
    with pytest.raises(Misconfigured, match=told):
        read_space({**BOTH, **more})


def test_candles_that_are_missing_are_named(plain):  # noqa: F811
    with pytest.raises(Misconfigured, match="candles of ETHUSDT are missing"):
        sweep(BOTH, {"BTCUSDT": CANDLES["BTCUSDT"]}, workers=1)


def test_candles_of_every_pair_are_found_in_the_store(tmp_path):
    store = CandleStore(tmp_path)
    for pair, candles in CANDLES.items():
        store.write("synth", "linear", pair, candles)
    ready = ready_search(SearchKind.SWEEP, read_space(BOTH), None, tmp_path)
    assert {pair: len(one) for pair, one in ready.market.candles.items()} == dict.fromkeys(CANDLES, DAYS * 24)
    assert ready.market.candles["ETHUSDT"].bar_ms == HOUR
    with pytest.raises(Misconfigured, match="one file, and 2 pairs"):
        ready_search(SearchKind.SWEEP, read_space(BOTH), tmp_path / "one.parquet", tmp_path)
