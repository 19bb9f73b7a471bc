"""Whatever a config, an option or a file holds: it is done, or refused in one sentence. 20,000 of them, no trace."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtesting.candle_checks import faults, gaps, repair
from backtesting.candles import read_candles
from bot.errors import TradingError
from coordinator.config import load_config
from search.batch import read_batch
from services.command_line.main import main
from services.runtime.config import load_bot

LONGEST_SENTENCE = 1100  # the list of what may be chosen, and two values cut at 200

# Values that have broken programs before, for any place in a config, an option or a file.
NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**3), 10**3),
    st.sampled_from([0, -1, 10**30, 10**400, 1e308, -1e308, 1e-9, 1e-320, float("nan"), float("inf"), 2**63, 0.1]),
    st.sampled_from(
        ["", ":", ".", "..", "/", "a:b", "a.py:B", "x.py", "~", "\0", "a\0b", "9" * 400, "A" * 300, "é", "\ud800"]
    ),
    st.sampled_from(
        ["1e308", "50%", "%", "nan%", "2024-13-45", "0001-01-01", "9999-12-31T23:59:59-14:00", "off", "-1"]
    ),
    st.text(max_size=20),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=5),
)
TREE = st.recursive(
    NASTY, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
SECTIONS = ("grid", "dca", "trend", "auto", "allocation", "risk", "smc", "execution", "bot")


@st.composite
def documents(draw):
    """A config that is right but for some places."""
    strategy = draw(st.sampled_from(["grid", "dca", "trend", "auto"]))
    values = load_config({"strategy": strategy, "pairs": ["BTCUSDT", "ETHUSDT"][: draw(st.integers(1, 2))]}).document()
    for _ in range(draw(st.integers(1, 3))):
        section = values
        name = draw(
            st.sampled_from([*values, *SECTIONS, "candles", "instrument", "instruments", "from", "to", "leverage"])
        )
        if isinstance(section.get(name), dict) and section[name] and draw(st.booleans()):
            section = section[name]
            name = draw(st.sampled_from(list(section)))
        section[name if draw(st.integers(0, 9)) else draw(st.text(max_size=8))] = draw(TREE)
    return values


def ends_in_a_sentence(act, *arguments):
    """Whether it is done, or refused in one sentence; anything else is raised."""
    sentence, file = "", ""
    try:
        act(*arguments)
    except TradingError as error:
        sentence = str(error)
    except OSError as error:  # the command line tells it with its file
        file = error.filename
    one_sentence = "\n" not in sentence and len(sentence) < LONGEST_SENTENCE
    assert one_sentence, sentence[:LONGEST_SENTENCE]
    assert file is not None


FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.mark.slow
@settings(FUZZ, max_examples=8_000)
@given(documents())
def test_no_config_ends_in_a_trace(values):
    ends_in_a_sentence(load_config, values)


@pytest.mark.slow
@settings(FUZZ, max_examples=4_000)
@given(st.one_of(documents().map(lambda one: yaml.dump(one, allow_unicode=True)), st.text(), st.binary()), st.data())
def test_no_file_of_a_config_ends_in_a_trace(tmp_path_factory, text, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    content = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    at = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:at] + data.draw(st.binary(max_size=2)) + content[at + data.draw(st.integers(0, 3)) :])
    ends_in_a_sentence(load_bot, path)


@st.composite
def batches(draw):
    """A batch that is right but for some places."""
    entry = {"name": "wide", "strategy": "grid", "grid": {"levels": 7}, "timeframes": ["1h"]}
    values = {"pairs": ["BTCUSDT"], "timeframes": ["1h"], "periods": [{"last_days": 2}, {"from": "2024-01-01"}]}
    values["strategies"] = ["trend", entry]
    places = [values, entry, values["periods"][0], values["periods"][1], entry["grid"]]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places))
        known = [*place, "candles", "capital", "config", "market", "name", "to"]
        place[draw(st.sampled_from(known) if draw(st.integers(0, 9)) else st.text(max_size=8))] = draw(TREE)
    return values


@pytest.mark.slow
@settings(FUZZ, max_examples=2_000)
@given(batches())
def test_no_batch_ends_in_a_trace(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "batch.yaml"
    path.write_bytes(yaml.dump(values, allow_unicode=True).encode(errors="surrogatepass"))
    ends_in_a_sentence(read_batch, path)


WORDS = st.one_of(NASTY.filter(lambda one: not isinstance(one, bytes)).map(str), st.text(max_size=10))
OPTIONS = {
    "backtest": (
        "--strategy",
        "--pair",
        "--from",
        "--to",
        "--capital",
        "--exchange",
        "--market",
        "--leverage",
        "--candles",
        "--set",
    ),
    "compare": ("--pair", "--strategies", "--from", "--to", "--capital", "--exchange", "--leverage", "--set"),
    "parameters": (),
    "explain": ("--pair", "--at"),
    "doctor": (),
    "stats": ("--bot",),
    "logs": ("--bot", "--lines"),
    "ctl": ("--bot", "--pair"),
    "init": ("--strategy", "--pairs", "--capital", "--environment", "--name"),
    "runs": (),
    "presets": (),
    "batch": ("--candles", "--out", "--workers"),
    "classify": ("--pair", "--exchange", "--market", "--days"),
    "scan": ("--pair", "--exchange", "--market", "--days", "--write", "--workers"),
    "pipeline": (
        "--symbols",
        "--strategy",
        "--objective",
        "--last-candles",
        "--bar",
        "--capital",
        "--max-loss",
        "--out",
    ),
}
KEYS = st.sampled_from(
    ["levels", "grid.levels", "grid.trailing", "from", "pairs", "risk.exposure", "a", "a..b", ".", "bot", "strategy"]
)


@pytest.mark.slow
@settings(FUZZ, max_examples=4_000)
@given(st.data())
def test_no_option_ends_in_a_trace(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    command = data.draw(st.sampled_from(list(OPTIONS)))
    words = [command, *data.draw(st.lists(WORDS, max_size=1))]
    for option in data.draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=3)) if OPTIONS[command] else ():
        value = data.draw(WORDS)
        words += [option, f"{data.draw(KEYS)}={value}" if option == "--set" else value]
    words = [word.replace("\0", "").encode(errors="replace").decode() for word in words]  # as no shell can give others
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setenv("TRADERAGENT_DATA_DIR", str(folder / "data"))
        patch.setattr(sys, "argv", ["traderagent", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code in (0, 1, 2), err.getvalue()
    if ended.value.code == 2 and "Usage:" not in err.getvalue():
        assert [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    (folder / "bot.yaml").unlink(missing_ok=True)


HEADERS = [
    "ts,open,high,low,close,volume",
    "time,open,high,low,close,volume",
    "date;open;high;low;close;volume",
    "",
    "a,b",
]
CELLS = st.one_of(
    st.sampled_from(
        ["", "nan", "inf", "1e308", "-1", "9" * 400, "x", "\0", '"', "2024-01-01", "1704067200000", "0", "1e-9"]
    ),
    st.integers(0, 10**13).map(str),
    st.floats().map(str),
    st.text(max_size=4),
)
ROWS = st.lists(st.lists(CELLS, min_size=5, max_size=7).map(",".join), max_size=5).map("\n".join)
TABLES = st.tuples(st.sampled_from(HEADERS), ROWS).map("\n".join).map(lambda text: text.encode(errors="surrogatepass"))
JSONS = TREE.map(lambda tree: json.dumps(tree, default=str).encode())
DEEP = st.sampled_from(
    [b"[" * 100_000, b'{"data":' * 50_000, b"[[" + b"9" * 5000 + b"]]", b"[[1,2,3,4,5,6],[1]]", b"[[]]", b"[{}]"]
)


@pytest.mark.slow
@settings(FUZZ, max_examples=4_000)
@given(
    st.one_of(TABLES, JSONS, DEEP, st.binary(max_size=200)),
    st.sampled_from(["csv", "json", "parquet", "feather", "txt"]),
)
def test_no_file_of_candles_ends_in_a_trace(tmp_path_factory, content, ending):
    path = tmp_path_factory.getbasetemp() / f"BTCUSDT.{ending}"
    path.write_bytes(content)

    def use():
        candles = read_candles(path)
        mended, _ = repair(candles)
        assert not faults(mended) or len(mended) == 0
        gaps(mended)

    with np.errstate(all="ignore"):
        ends_in_a_sentence(use)
