"""`traderagent validate` and `backtest --signals`, over a real run: report, page, answers, criteria, batch, preset."""

from __future__ import annotations

import json
import re
import shutil
import sys

import polars as pl
import pytest
import yaml
from PIL import Image

from backtesting.candles import to_frame
from bot.candles import iso
from services.app.preset_library import presets_of
from services.command_line.main import main
from services.market_data.store import CandleStore
from tests.conftest import play_interpreted, walk

REPORT = ["run_id", "qa_status", "checks_performed", "issues_found", "visual_check_url"]
CRITERIA = {"win_rate": None, "average_r": None}


def command(monkeypatch, capsys, *words):
    """Run the command here; returns its exit code, output and error stream."""
    monkeypatch.setattr(sys, "argv", ["traderagent", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of thirty signals on a walk, which none of the tests may change, and its data directory."""
    folder = tmp_path_factory.mktemp("validate")
    candles = walk(4_000, seed=4, volatility=0.002)
    CandleStore(folder / "data").write("synth", "linear", "BTCUSDT", candles)
    rows = []
    for k in range(30):
        at = 20 + 130 * k
        price, direction = float(candles.close[at]), 1 if k % 2 else -1
        prices = [price, round(price * (1 - direction * 0.004), 1), round(price * (1 + direction * 0.006), 1)]
        rows.append([f"s{k}", *prices, iso(int(candles.ts[at]))])
    columns = ["signal_id", "entry_price", "sl_price", "tp_price", "entry_timestamp"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(folder / "mine.csv")
    with pytest.MonkeyPatch.context() as patch:
        play_interpreted(patch, "signals")
        patch.setenv("TRADERAGENT_DATA_DIR", str(folder / "data"))
        words = ("--signals", folder / "mine.csv", "--pair", "BTCUSDT", "--out", folder / "run", "--samples", "10")
        patch.setattr(sys, "argv", ["traderagent", "backtest", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """A copy of the run that a test may change."""
    monkeypatch.setenv("TRADERAGENT_DATA_DIR", str(made / "data"))
    play_interpreted(monkeypatch, "signals")
    return shutil.copytree(made / "run", tmp_path / "run")


def criteria(folder, **changes):
    path = folder / "criteria.yaml"
    path.write_text(yaml.safe_dump({**CRITERIA, **changes}))
    return path


def report_of(monkeypatch, capsys, *words, code=0):
    found, out, err = command(monkeypatch, capsys, "validate", *words, "--json")
    assert found == code, err
    return json.loads(out)


def test_signals_slip_one_pip_unless_told_otherwise(made, run, tmp_path, monkeypatch, capsys):
    rules = yaml.safe_load((run / "config.yaml").read_text())["execution"]
    assert (rules["slippage_bps"], rules["slippage_ticks"]) == (0.0, 1.0)
    words = ("backtest", "--signals", made / "mine.csv", "--pair", "BTCUSDT", "--out", tmp_path / "other")
    code, _, err = command(monkeypatch, capsys, *words, "--slippage", "2pips", "--spread", "4bps")
    assert code == 0, err
    rules = yaml.safe_load((tmp_path / "other" / "config.yaml").read_text())["execution"]
    assert (rules["slippage_bps"], rules["slippage_ticks"]) == (2.0, 2.0)


def test_samples_are_named_in_result_trades_and_export(run):
    samples = json.loads((run / "result.json").read_text())["samples"]
    trades = pl.read_csv(run / "trades.csv")
    assert [one["trade_id"] for one in samples] == [1, 11, 21][: len(samples)]
    assert trades["sample_png"].drop_nulls().to_list() == [one["annotated"] for one in samples]
    for one in samples:
        for path in (one["original"], one["annotated"]):
            with Image.open(run / path) as picture:
                assert picture.size == (803, 451)
    first = [(run / samples[0][name]).read_bytes() for name in ("original", "annotated")]
    assert first[0] != first[1]


def test_a_run_waits_for_a_person_and_passes_when_its_trades_are_confirmed(run, tmp_path, monkeypatch, capsys):
    asked = criteria(tmp_path, samples=5)
    report = report_of(monkeypatch, capsys, run, "--criteria", asked)
    assert list(report) == REPORT
    assert report["qa_status"] == "review_required"
    assert [one["check"] for one in report["issues_found"]] == ["samples"]
    assert report["visual_check_url"] == (run / "validation.html").as_uri()
    assert json.loads((run / "validation.json").read_text()) == report
    page = (run / "validation.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert not re.search(r"(src|href)=[\"']https?:", page)
    question = json.loads(re.search(r'id="asked">(.*?)</script>', page)[1])
    answers = {"run_id": question["run_id"], "answers": [{**one, "answer": "right"} for one in question["trades"]]}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    report = report_of(monkeypatch, capsys, run, "--criteria", asked, "--confirm", tmp_path / "answers.json")
    assert (report["qa_status"], report["issues_found"]) == ("pass", [])
    assert report_of(monkeypatch, capsys, run, "--criteria", asked)["qa_status"] == "pass"  # they are kept
    answers["answers"][0]["answer"] = "wrong"
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    words = (run, "--criteria", asked, "--confirm", tmp_path / "answers.json")
    assert report_of(monkeypatch, capsys, *words, code=1)["qa_status"] == "fail"


def test_a_fault_in_the_files_of_a_run_is_found(run, tmp_path, monkeypatch, capsys):
    lines = (run / "trades.csv").read_text().splitlines(keepends=True)
    (run / "trades.csv").write_text("".join([*lines, lines[4]]))
    report = report_of(monkeypatch, capsys, run, "--criteria", criteria(tmp_path, samples=0), code=1)
    assert [one["check"] for one in report["issues_found"]] == ["duplicate_trades"]


def test_criteria_that_a_run_misses_fail_it(run, tmp_path, monkeypatch, capsys):
    report = report_of(monkeypatch, capsys, run, "--criteria", criteria(tmp_path, samples=0, trades=500), code=1)
    assert report["issues_found"][0]["issue"].endswith("fewer than 500")
    code, out, _ = command(monkeypatch, capsys, "validate", run)
    assert code == 1
    assert "the average R is" in out.replace("\n", " ")


def test_without_its_candles_a_run_is_for_a_person(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRADERAGENT_DATA_DIR", str(tmp_path / "empty"))
    report = report_of(monkeypatch, capsys, run, "--criteria", criteria(tmp_path, samples=3))
    found = {one["check"]: one["status"] for one in report["issues_found"]}
    skipped = {"fills_without_volume": "skipped", "prices_outside_bars": "skipped"}
    assert found == {**skipped, "samples": "review_required"}
    assert (report["visual_check_url"], report["qa_status"]) == (None, "review_required")


def test_candles_that_have_changed_since_are_found(run, tmp_path, monkeypatch, capsys):
    other = walk(4_000, seed=4, volatility=0.002)
    at = int(pl.read_csv(run / "fills.csv")["ts"][7])
    quiet = to_frame(other).with_columns(volume=pl.when(pl.col("ts") == at).then(0.0).otherwise("volume"))
    quiet.write_csv(tmp_path / "quiet.csv")
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "candles": str(tmp_path / "quiet.csv")}))
    report = report_of(monkeypatch, capsys, run, "--criteria", criteria(tmp_path, samples=0), code=1)
    assert [one["check"] for one in report["issues_found"]] == ["fills_without_volume"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("criteria", "win_rate: [0.7, 0.5]", "swap the two"),
        ("criteria", "win_rat: [0, 1]", "did you mean 'win_rate'"),
        ("criteria", "samples: many", "criteria.samples is 'many'"),
        ("criteria", "zones: {labels: none.csv}", "none.csv is no file"),
        ("confirm", "[]", "holds no answers"),
        ("confirm", "{", "cannot be read"),
        ("confirm", '{"run_id": "other", "answers": []}', "answers run 'other'"),
    ],
)
def test_odd_input_is_one_sentence(run, tmp_path, monkeypatch, capsys, name, text, said):
    (tmp_path / name).write_text(text)
    code, _, err = command(monkeypatch, capsys, "validate", run, f"--{name}", tmp_path / name)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("answer", [{"trade_id": 1}, {"trade_id": 9_999, "pair": "BTCUSDT"}, 7])
def test_answers_about_other_trades_or_none_are_refused(run, tmp_path, monkeypatch, capsys, answer):
    run_id = json.loads((run / "result.json").read_text())["run_id"]
    (tmp_path / "answers.json").write_text(json.dumps({"run_id": run_id, "answers": [answer]}))
    code, _, err = command(monkeypatch, capsys, "validate", run, "--confirm", tmp_path / "answers.json")
    assert (code, "names trade" in err) == (2, True)


def test_a_run_that_is_none_or_damaged_is_one_sentence(run, tmp_path, monkeypatch, capsys):
    for place in (tmp_path / "nowhere", "trend-BTCUSDT"):
        code, _, err = command(monkeypatch, capsys, "validate", place)
        assert (code, "is no run directory and none that is kept" in err) == (2, True)
    for name, text in (("trades.csv", "a,b\n1,2\n"), ("result.json", "[]"), ("equity.parquet", "PAR1")):
        kept = (run / name).read_bytes()
        (run / name).write_text(text)
        code, _, err = command(monkeypatch, capsys, "validate", run)
        assert (code, "cannot be read" in err, err.count("\n")) == (2, True, 1), (name, err)
        (run / name).write_bytes(kept)


def test_a_preset_carries_how_its_run_was_judged(run, made, tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.yaml"
    words = ("validate", run, "--criteria", criteria(tmp_path, samples=0), "--preset", path)
    assert command(monkeypatch, capsys, *words)[0] == 0
    own = tmp_path / "presets"
    own.mkdir()
    shutil.copy(path, own / "mine.yaml")
    preset = next(one for one in presets_of(tmp_path, programs=tmp_path / "none") if one.name == "mine")
    assert preset.validation.startswith("pass on 20")
    assert preset.values["strategy"] == "strategies.signals:SIGNALS"
    code, _, err = command(monkeypatch, capsys, *words)
    assert (code, "exists" in err) == (2, True)


def test_a_batch_demands_it_of_every_run(made, run, tmp_path, monkeypatch, capsys):
    config = yaml.safe_load((run / "config.yaml").read_text())
    entry = {"name": "mine", "strategy": config["strategy"], "signals": config["signals"]}
    shared = {"pairs": ["BTCUSDT"], "exchange": "synth", "strategies": [entry]}
    strict = str(criteria(tmp_path, trades=500))
    for validation, code, times in ((CRITERIA, 0, 2), (strict, 1, 2), (False, 0, 1)):
        (tmp_path / "batch.yaml").write_text(yaml.safe_dump({**shared, "validation": validation}))
        words = ("batch", tmp_path / "batch.yaml", "--out", tmp_path / "out", "--json")
        for _ in range(times):  # played now, and taken from what is kept
            found, out, err = command(monkeypatch, capsys, *words)
            assert found == code, err
            whole = json.loads(out)
            if code:
                assert "validation: " in whole["failed_runs"][0]["reason"]
                assert "fewer than 500" in whole["failed_runs"][0]["reason"]
            else:
                row = whole["individual_results"][0]
                assert row.get("qa_status") == (None if validation is False else "pass")
                assert "validation" not in row
    (tmp_path / "batch.yaml").write_text(yaml.safe_dump({**shared, "validation": [1]}))
    code, _, err = command(monkeypatch, capsys, "batch", tmp_path / "batch.yaml")
    assert (code, "validation is [1]" in err) == (2, True)


def test_signals_beside_what_they_cannot_be_are_refused(made, run, tmp_path, monkeypatch, capsys):
    base = ("backtest", "--signals", made / "mine.csv", "--out", tmp_path / "x")
    for words, said in (
        ((*base, "--pair", "BTCUSDT", "--strategy", "grid"), "leave one out"),
        ((*base, "--pair", "BTCUSDT,ETHUSDT"), "one strategy on one pair"),
        ((*base, "--pair", "BTCUSDT", "--smc"), "one strategy on one pair"),
        ((*base, "--pair", "BTCUSDT", "--slippage", "soon"), "slippage is 'soon'"),
    ):
        code, _, err = command(monkeypatch, capsys, *words)
        assert (code, said in err) == (2, True), err


def test_labels_are_written_from_what_the_generator_knows(store_dir, tmp_path, monkeypatch, capsys):
    path = tmp_path / "zones.csv"
    code, _, err = command(monkeypatch, capsys, "data", "synth", "--pairs", "BTCUSDT", "--days", "60", "--zones", path)
    assert code == 0, err
    labels = pl.read_csv(path)
    assert labels.columns == ["pair", "kind", "side", "bottom", "top", "from", "to"]
    assert labels.height == 3
    assert labels.filter(pl.col("bottom") >= pl.col("top")).is_empty()
    assert CandleStore(store_dir).series()
