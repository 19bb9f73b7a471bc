"""Configs of passivbot: re-entries, sizes and take profits by its own formulas; what is not carried over is said."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from backtesting.run import simulate
from bot.errors import Misconfigured
from coordinator.config import load_config
from services.command_line.main import app, main
from services.passivbot import imported
from tests.conftest import walk

SIDE = {
    "n_positions": 1,
    "total_wallet_exposure_limit": 0.5,
    "entry_initial_qty_pct": 0.1,
    "entry_grid_double_down_factor": 0.5,
    "entry_grid_spacing_pct": 0.02,
    "entry_grid_spacing_we_weight": 1.0,
    "entry_grid_spacing_volatility_weight": 3.0,
    "entry_initial_ema_dist": -0.01,
    "entry_trailing_grid_ratio": 0.0,
    "close_grid_markup_start": 0.01,
    "close_grid_markup_end": 0.004,
    "close_grid_qty_pct": 0.25,
    "unstuck_close_pct": 0.05,
    "enforce_exposure_limit": False,
}
OFF = {**SIDE, "n_positions": 0}


def document(long=SIDE, short=OFF, coins=("BTC",)):
    return {
        "backtest": {"starting_balance": 100_000},
        "bot": {"long": long, "short": short},
        "live": {"approved_coins": list(coins)},
    }


def reentries(side, sign):
    """Distances of passivbot's re-entries by its documentation, and the size of each over the first entry."""
    size, price, found = 1.0, 100.0, []
    first = side["entry_initial_qty_pct"]
    while first * size * 1.5 <= 1.0:
        multiplier = 1 + first * size * side["entry_grid_spacing_we_weight"]
        at = price * (1 + sign * side["entry_grid_spacing_pct"] * multiplier)
        more = size * side["entry_grid_double_down_factor"]
        found.append((abs(at - 100.0) / 100.0, more))
        price, size = (price * size + at * more) / (size + more), size + more
    return found


@pytest.mark.parametrize("direction", ["long", "short"])
def test_safety_orders_begin_and_end_where_the_reentries_do_and_grow_as_they_do(direction):
    given = document() if direction == "long" else document(long=OFF, short=SIDE)
    dca = imported(given).config["dca"]
    expected = reentries(SIDE, -1 if direction == "long" else 1)
    assert dca["max_safety_orders"] == len(expected) == 5
    assert dca["direction"] == direction
    distances = [dca["step"] * sum(dca["step_multiplier"] ** j for j in range(k + 1)) for k in range(len(expected))]
    assert distances[0] == pytest.approx(expected[0][0], abs=1e-6)
    assert distances[-1] == pytest.approx(expected[-1][0], abs=1e-4)
    apart = max(abs(ours - theirs) for ours, (theirs, _) in zip(distances, expected, strict=True))
    assert f"up to {apart * 100:.2f} % of the price" in " ".join(imported(given).left_out)
    sizes = [dca["safety_ratio"] * dca["volume_multiplier"] ** k for k in range(len(expected))]
    assert sizes == pytest.approx([size for _, size in expected])


def test_take_profits_are_spread_and_money_follows_the_exposure():
    config = imported(document()).config
    assert config["dca"]["targets"] == [
        {"at": 0.004, "share": 0.25},
        {"at": 0.006, "share": 0.25},
        {"at": 0.008, "share": 0.25},
        {"at": 0.01, "share": 0.25},
    ]
    assert (config["pair"], config["market"], config["capital"], config["leverage"]) == ("BTCUSDT", "linear", 50_000, 1)
    larger = imported(document({**SIDE, "total_wallet_exposure_limit": 2.5, "close_grid_qty_pct": 1.0})).config
    assert (larger["capital"], larger["leverage"], larger["dca"]["take_profit"]) == (100_000, 2.5, 0.007)


def test_what_is_not_carried_over_is_said():
    found = imported(document(short=SIDE, coins=("BTC", "ETHUSDT", "SOL/USDT:USDT")))
    said = " ".join(found.left_out)
    assert found.config["pairs"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    for words in (
        "no stop",
        "short side is not",
        "1 of 3 coins",
        "unstuck_close_pct",
        "spacing_volatility_weight",
        "ema_dist",
    ):
        assert words in said, words
    assert "trailing_grid_ratio" not in said, "what is zero changes nothing"
    assert "initial_qty_pct" not in said, "what is carried over is no loss"


def test_what_is_written_trades(tmp_path):
    (tmp_path / "theirs.json").write_text(json.dumps(document()))
    out = tmp_path / "bot.yaml"
    done = CliRunner().invoke(app, ["import-bot", str(tmp_path / "theirs.json"), "--out", str(out)])
    assert done.exit_code == 0
    assert "Not carried over: " in done.output
    assert f"backtest {out}" in done.output
    result = simulate(
        {**yaml.safe_load(out.read_text()), "dca": {**load_config(out).document()["dca"], "warmup_bars": 20}},
        walk(9000),
    )
    assert result.metrics.deals > 0
    again = CliRunner().invoke(app, ["import-bot", str(tmp_path / "theirs.json"), "--out", str(out)])
    assert isinstance(again.exception, Misconfigured)
    assert "give --replace" in str(again.exception)


WRONG = {
    "no section": ({"live": {}}, "no section bot"),
    "a list": ([1], "no section bot"),
    "version 8": (document(long={"risk": {}, "strategy": {}}), "passivbot 8"),
    "nothing trades": (document(long=OFF), "0 on both sides"),
    "a key": (
        document(long={key: value for key, value in SIDE.items() if key != "entry_initial_qty_pct"}),
        "is missing",
    ),
    "a word": (document(long={**SIDE, "entry_initial_qty_pct": "much"}), "entry_initial_qty_pct is 'much'"),
    "a size": (document(long={**SIDE, "entry_initial_qty_pct": 2}), "at most 1"),
    "no coin": (document(coins=()), "--pair BTCUSDT"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_cannot_be_read_is_one_sentence(name):
    given, words = WRONG[name]
    with pytest.raises(Misconfigured) as error:
        imported(given)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_side_that_does_not_trade_cannot_be_asked_for():
    with pytest.raises(Misconfigured, match="only long trades"):
        imported(document(), direction="short")


def test_a_file_that_is_no_json_is_refused_with_exit_code_2(tmp_path, capsys, monkeypatch):
    path = tmp_path / "theirs.json"
    path.write_text("{half")
    monkeypatch.setattr("sys.argv", ["traderagent", "import-bot", str(path), "--out", str(tmp_path / "bot.yaml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "is no JSON" in capsys.readouterr().err
    assert not (tmp_path / "bot.yaml").exists()
