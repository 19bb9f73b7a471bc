"""`traderagent pipeline` over a folder and over the store: presets, a summary, and going on where it was ended."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import yaml

from backtesting.candles import to_frame
from coordinator.config import load_config
from search import pair_classes
from search.pair_classes import PairClass
from services.app import pipeline as chain
from services.market_data.store import CandleStore
from tests.search.test_pair_classes import hours
from tests.services.test_batch import command
from tests.services.test_interrupt import LIMIT, SLACK, interrupted, started

LENIENT = ("--least-trades", "1", "--max-drawdown", "90", "--max-loss", "90", "--workers", "1")
ASKED = ("--strategy", "grid", "--objective", "total_return_pct", *LENIENT)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Ranges with few variants."""
    section = {"timeframe": "1h", "levels": [10, 20], "profit_per_grid": [0.01, 0.02], "stop_loss": 0.1}
    for kind in PairClass:
        monkeypatch.setitem(pair_classes.SEARCH_RANGES[kind], "grid", section)


@pytest.fixture
def folder(tmp_path):
    """Files of three pairs: one of too few days, one of two lengths."""
    place = tmp_path / "candles"
    place.mkdir()
    for seed, (name, days) in enumerate({"AAAUSDT-1h": 120, "BBBUSDT-1h": 20, "CCCUSDT-1h": 120}.items()):
        to_frame(hours(days, 0.006, seed)).write_csv(place / f"{name}.csv")
    long = hours(120, 0.006, 9).rows(slice(None, None, 4))
    to_frame(replace(long, bar_ms=4 * 3_600_000)).write_csv(place / "CCCUSDT-4h.csv")
    return place


def answered(monkeypatch, capsys, *words, code=0):
    found, out, err = command(monkeypatch, capsys, "pipeline", *words, *ASKED, "--json")
    assert found == code, err
    return json.loads(out), err


def test_each_pair_of_a_folder_has_a_preset_or_a_reason(folder, store_dir, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    whole, err = answered(monkeypatch, capsys, folder, "--out", out, code=1)
    assert json.loads((out / "summary.json").read_text()) == whole
    by_pair = {row["symbol"]: row for row in whole["pairs"]}
    assert {pair: row["status"] for pair, row in by_pair.items()} == {
        "AAAUSDT": "finished",
        "BBBUSDT": "failed",
        "CCCUSDT": "failed",
    }
    assert "14 days of candles, 30 are needed for a class" in by_pair["BBBUSDT"]["reason"]
    assert "holds 2 files, CCCUSDT-1h.csv, CCCUSDT-4h.csv, of CCCUSDT" in by_pair["CCCUSDT"]["reason"]
    assert re.search(r"^1 of 3 AAAUSDT \(\w+\): finished: .*; about [\d,]+ s left$|^1 of 3 AAAUSDT", err, re.MULTILINE)
    assert [path.name for path in (out / "presets").iterdir()] == ["AAAUSDT.yaml"]
    config = load_config(out / "presets" / "AAAUSDT.yaml")
    row = by_pair["AAAUSDT"]
    assert (config.pair, config.strategy) == ("AAAUSDT", "grid")
    assert whole["pairs"][0]["preset"] == "presets/AAAUSDT.yaml"
    assert row["in_sample"]["from"] == "2024-01-01" and row["held_out"]["to"] == "2024-04-30"
    page = (out / "report.html").read_text()
    assert "AAAUSDT" in page and "BBBUSDT" in page
    # One length of bars, and the last candles alone: another session, and the pair of two files is played.
    whole, _ = answered(
        monkeypatch, capsys, folder, "--out", out, "--replace", "--bar", "1h", "--last-candles", "2400", "--symbols",
        "CCCUSDT,AAAUSDT",
    )  # fmt: skip
    assert [row["status"] for row in whole["pairs"]] == ["finished", "finished"]
    assert whole["pairs"][0]["in_sample"]["from"] == "2024-01-21"
    assert whole["pairs"][0]["sessions"] != row["sessions"]


def test_an_abandoned_pair_stops_no_other_and_leaves_no_preset_of_an_earlier_chain(
    folder, store_dir, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    answered(monkeypatch, capsys, folder, "--out", out, "--symbols", "AAAUSDT")
    assert list((out / "presets").iterdir())
    code, out_text, err = command(
        *(monkeypatch, capsys, "pipeline", folder, "--out", out, "--replace", "--json", "--bar", "1h"),
        *("--symbols", "AAAUSDT,CCCUSDT", *ASKED, "--max-loss", "0", "--loss-days", "5"),
    )
    assert code == 0, err
    whole = json.loads(out_text)
    assert (whole["finished"], whole["abandoned"]) == (0, 2)
    assert "AAAUSDT" in err and "abandoned: loss window: the best lost" in err
    assert not list((out / "presets").iterdir())
    assert "Without a preset" in (out / "report.html").read_text()


def test_the_same_again_plays_nothing_and_says_the_same(store_dir, tmp_path, monkeypatch, capsys):
    store = CandleStore(store_dir)
    for seed, pair in enumerate(("AAAUSDT", "BBBUSDT")):
        store.write("binance", "linear", pair, hours(120, 0.006, seed))
    first, _ = answered(monkeypatch, capsys, "--out", tmp_path / "one")
    played = []
    monkeypatch.setattr(chain, "Threads", counting(played, chain.Threads))
    second, _ = answered(monkeypatch, capsys, "--out", tmp_path / "two")
    assert first["pairs"] == second["pairs"]
    assert first["pairs"][0]["exchange"] == "binance"
    # Of each search the best alone is played: on the days held out, and for its daily returns.
    assert sum(played) == 2 * 2 * 2
    for name in ("AAAUSDT", "BBBUSDT"):
        one, two = ((tmp_path / place / "presets" / f"{name}.yaml").read_text() for place in ("one", "two"))
        assert one == two
        assert yaml.safe_load(one)["bar"] == "1h"


def counting(played, threads):
    class Counting(threads):
        def submit(self, window, numbers):
            played.append(len(numbers))
            return super().submit(window, numbers)

    return Counting


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--strategy", "tend"), "strategy is 'tend', which has no search ranges; did you mean 'trend'."),
        (("--symbols", "NONEUSDT"), "symbols names NONEUSDT, of which the folder holds no file; take it out"),
        (("--objective", "sharp"), "search.objective names 'sharp', no known figure; did you mean 'sharpe'."),
        (("--out", "candles/AAAUSDT-1h.csv"), "AAAUSDT-1h.csv, which is a file; name a folder."),
        (("--bar", "7x"), "bar is 7x, which is no length of bars; write one such as 1m, 1h or 1d."),
        (("--capital", "-1"), "capital is -1.0: input should be greater than 0; change it."),
    ],
)
def test_bad_input_is_one_sentence(folder, store_dir, tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(monkeypatch, capsys, "pipeline", "candles", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1, err
    assert not (tmp_path / "pipeline").exists()


def test_what_is_finished_is_not_written_over(folder, store_dir, tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text("{}")
    code, _, err = command(monkeypatch, capsys, "pipeline", folder, "--out", tmp_path / "out")
    assert code == 2 and "summary.json exists; choose another folder, or give --replace." in err
    code, _, err = command(monkeypatch, capsys, "pipeline", "--bar", "1h")
    assert code == 2 and "bar is 1h, which chooses files of a folder" in err


@pytest.mark.slow  # a process of its own, from its start
def test_ctrl_c_ends_it_within_a_second_and_leaves_nothing_half_done(tmp_path):
    place, out = tmp_path / "candles", tmp_path / "out"
    place.mkdir()
    for seed in range(8):
        to_frame(hours(200, 0.006, seed)).write_csv(place / f"{'ABCDEFGH'[seed]}AAUSDT-1h.csv")
    words = ("-m", "bot", "pipeline", str(place), "--out", str(out), *ASKED)
    process = started(*words, TRADERAGENT_DATA_DIR=str(tmp_path / "data"))
    said, code, seconds = interrupted(process, "1 of 8 AAAUSDT")
    assert code == 130, said
    assert seconds < LIMIT + SLACK
    assert "Traceback" not in said
    left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert left and all(re.fullmatch(r"presets/[A-H]AAUSDT\.yaml", name) for name in left)
    for name in left:
        load_config(out / name)
