"""`traderagent classify` and `scan` over a real store: classes, ranks, what an alpha may say, and proposals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from bot.errors import Misconfigured
from coordinator.config import load_config
from search.chance import Interval
from search.pair_scan import ScannedPair, ranked, said_of_all
from search.reading import read_space
from services.app.stored_pairs import stored_pairs
from services.market_data.store import CandleStore
from tests.conftest import walk
from tests.services.test_batch import command

DAYS = 50


@pytest.fixture
def stocked(store_dir):
    """A data directory with three pairs, and a fourth of few days."""
    store = CandleStore(store_dir)
    for seed, (pair, volatility) in enumerate({"AAAUSDT": 0.0005, "BBBUSDT": 0.001, "CCCUSDT": 0.003}.items()):
        store.write("binance", "linear", pair, walk(DAYS * 1440, seed=seed, volatility=volatility))
    store.write("binance", "spot", "DDDUSDT", walk(5 * 1440, seed=9))
    store.write("synth", "linear", "EEEUSDT", walk(1440, seed=9))
    return store_dir


def test_classify_tells_the_class_of_each_pair_and_the_ranges_of_each_class(stocked, monkeypatch, capsys):
    code, out, err = command(monkeypatch, capsys, "classify", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {row["symbol"]: row["class"] for row in found["pairs"]} == {
        "AAAUSDT": "stable",
        "BBBUSDT": "mid_cap",
        "CCCUSDT": "meme",
        "DDDUSDT": None,
    }
    assert list(found["search_ranges"]) == ["stable", "blue_chip", "mid_cap", "meme"]
    code, out, _ = command(monkeypatch, capsys, "classify", "--pair", "aaa/usdt", "--days", "40", "--ranges")
    assert code == 0 and "40 " in out and "stable" in out
    shown = yaml.safe_load(out[out.index("\nstable:") :])
    assert list(shown) == ["stable"]
    assert read_space({"strategy": "dca", "pair": "AAAUSDT", "dca": shown["stable"]["dca"]}).size == 96


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pair", "AAAUSDT,NONEUSDT"), "pair NONEUSDT has no candles in the store; `traderagent data list` shows"),
        (("--exchange", "okx"), "pair of any name has no candles in the store for okx; "),
        (("--pair", "DDDUSDT", "--market", "linear"), "pair DDDUSDT has no candles in the store for linear; "),
        (("--pair", "x" * 300), "pairs names 'XXX"),
    ],
)
def test_a_pair_that_is_not_there_is_one_sentence(stocked, monkeypatch, capsys, words, sentence):
    for name in ("classify", "scan"):
        code, out, err = command(monkeypatch, capsys, name, *words)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {sentence}") and err.count("\n") == 1 and len(err) < 400


def test_an_empty_store_is_said(store_dir):
    with pytest.raises(Misconfigured, match="the store holds no candles; import"):
        stored_pairs(CandleStore(store_dir))


def test_generated_candles_count_where_they_are_named_or_alone(stocked):
    store = CandleStore(stocked)
    assert "EEEUSDT" not in {one.symbol for one in stored_pairs(store)}
    assert [one.symbol for one in stored_pairs(store, exchange="synth")] == ["EEEUSDT"]


def test_scan_ranks_pairs_by_alpha_at_the_pessimistic_bound_and_proposes(stocked, tmp_path, monkeypatch, capsys):
    cells = {"warmup_bars": 20, "range_factor": 3, "profit_per_grid": "0.4%"}
    mine = {"strategy": "grid", "pair": "XUSDT", "from": "2020-01-01", "capital": 1_000_000, "grid": cells}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**mine, "execution": {"fill_rule": "touch", "slippage_bps": 2}}))
    words = ("scan", path, "--days", "40", "--market", "linear", "--write", tmp_path / "to", "--json")
    code, out, err = command(monkeypatch, capsys, *words)
    assert code == 0, err
    found = json.loads(out)
    rows = found["pairs"]
    assert {row["symbol"] for row in rows} == {"AAAUSDT", "BBBUSDT", "CCCUSDT"}
    alphas = [row["alpha_pct"] for row in rows]
    assert alphas == sorted(alphas, reverse=True) and len(set(alphas)) == 3
    for row in rows:
        assert row["alpha_low_pct"] < row["alpha_pct"] < row["alpha_high_pct"]
        assert row["from"] == "2024-01-11T00:00:00Z"
    assert found["verdict"].startswith("3 pairs have an alpha, ")
    config = tmp_path / "to" / "BBBUSDT.yaml"
    document = load_config(config)
    assert (document.pair, document.exchange, document.start, document.parameters.warmup_bars) == (
        *("BBBUSDT", "binance", None),
        20,
    )
    text = config.read_text()
    assert "# In sample, 2024-01-11 to 2024-02-20, pessimistic fills" in text
    assert "# Expires 2024-03-31: scan again by then." in text
    options = ("--from", "2024-01-11", "--set", "execution.slippage_bps=2", "--set", "execution.fill_rule=through")
    (row,) = (row for row in rows if row["symbol"] == "BBBUSDT")
    for more, same in (((), True), (("--set", "execution.fill_rule=touch"), False)):
        asked = ("backtest", config, *options, *more, "--json", "--out", tmp_path / "run")
        code, out, err = command(monkeypatch, capsys, *asked)
        assert code == 0, err
        assert (row["total_return_pct"] == json.loads(out)["metrics"]["total_return_pct"]) is same
    code, _, err = command(monkeypatch, capsys, *words)
    assert code == 2 and "AAAUSDT.yaml exists; choose another folder, or give --replace." in err


def test_a_pair_that_cannot_be_played_is_named_and_of_few_days_there_is_no_alpha(
    stocked, tmp_path, monkeypatch, capsys
):
    code, out, err = command(monkeypatch, capsys, "scan", "--days", "4", "--pair", "AAAUSDT,DDDUSDT", "--json")
    assert code == 0, err
    rows = json.loads(out)["pairs"]
    assert [(row["symbol"], row["alpha_pct"], row["words"]) for row in rows] == [
        ("AAAUSDT", None, "too few days: alpha takes 30"),
        ("DDDUSDT", None, "too few days: alpha takes 30"),
    ]
    code, out, err = command(monkeypatch, capsys, "scan", "--days", "4", "--pair", "AAAUSDT", "--market", "linear")
    assert code == 0 and "AAAUSDT" in out and "0 pairs have an alpha, 0 of them above nothing" in out
    (tmp_path / "levered.yaml").write_text("strategy: trend\nleverage: 2\n")
    code, out, err = command(monkeypatch, capsys, "scan", tmp_path / "levered.yaml", "--days", "4", "--json")
    assert code == 1
    assert err.startswith("failed: DDDUSDT binance spot: leverage is 2 but spot has none")
    assert [one["symbol"] for one in json.loads(out)["failed"]] == ["DDDUSDT"]


def test_bad_configs_are_refused_before_anything_is_played(stocked, tmp_path, monkeypatch, capsys):
    for text, sentence in (
        ("strategy: gird\n", "strategy 'gird' is unknown"),
        ("strategy: trend\nexecution: 3\n", "execution must be a section"),
        ("strategy: trend\ntrend: {range_bars: 1}\n", "trend.range_bars is 1"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        code, out, err = command(monkeypatch, capsys, "scan", tmp_path / "bad.yaml")
        assert (code, out) == (2, "") and err.startswith(f"error: {sentence}"), err


def pair(symbol, alpha):
    return ScannedPair(symbol, "binance", "linear", {}, alpha, 0.0)


def test_an_alpha_is_something_where_its_interval_leaves_nothing_out():
    above, below, either = Interval(9.0, 1.0, 20.0), Interval(-9.0, -20.0, -1.0), Interval(5.0, -1.0, 11.0)
    found = [pair("A", either), pair("B", None), pair("C", below), pair("D", above)]
    assert [one.symbol for one in ranked(found)] == ["D", "A", "C", "B"]
    assert [one.words.split(":")[0] for one in ranked(found)] == [
        "alpha above nothing",
        "not distinguishable from nothing",
        "alpha below nothing",
        "too few days",
    ]
    assert said_of_all(found).startswith("3 pairs have an alpha, 1 of them above nothing; of as many without any edge")


def test_of_pairs_without_an_edge_few_stand_out():
    """The share that `said_of_all` names: one in twenty, by resamples of 90 days."""
    from search.chance import intervals

    rng, above = np.random.default_rng(3), 0
    for _ in range(200):
        market = rng.normal(0.0, 0.03, 90)
        own = 0.3 * market + rng.normal(0.0, 0.02, 90)
        above += intervals(own, market)["alpha_pct"].low > 0.0
    assert 4 <= above <= 22
