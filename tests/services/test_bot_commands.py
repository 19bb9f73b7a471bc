"""Commands around a bot: config, service, which bot is meant, its log and trades; and the runs of backtests."""

from __future__ import annotations

import asyncio
import configparser
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from bot.errors import Misconfigured
from bot.ports import Cause
from bot.sources import ROOT
from coordinator.config import load_config
from services.command_line.console import console, notes
from services.command_line.main import main
from services.control.client import control_file, file_of, log_file, tail
from services.logs import configure, quieten
from services.runtime.config import load_bot
from services.storage.closed_trades import closed_trades, figures
from services.storage.schema import migrate
from services.storage.store import PostgresStore

COMMAND = [sys.executable, "-m", "bot"]


@dataclass
class Done:
    stdout: str
    stderr: str


def run(*arguments, folder, code=0):
    """Run a command as a shell does, in this process: what it prints, with no terminal anywhere."""
    out, err = io.StringIO(), io.StringIO()
    console.cache_clear()
    notes.cache_clear()
    with pytest.MonkeyPatch.context() as patch, Path(os.devnull).open() as nothing, redirect_stdout(out):
        patch.chdir(folder)
        patch.setenv("COLUMNS", "160")
        patch.setenv("TRADERAGENT_DATA_DIR", str(folder))
        patch.setattr(sys, "argv", ["traderagent", *map(str, arguments)])
        patch.setattr(sys, "stdin", nothing)
        with redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == code, out.getvalue() + err.getvalue()
    return Done(out.getvalue(), err.getvalue())


def test_version_and_exit_codes_are_told(tmp_path):
    assert run("--version", folder=tmp_path).stdout.startswith("traderagent 0.")
    assert "Exit codes: 0 done" in run("--help", folder=tmp_path).stdout
    assert "--show-completion" in run("--help", folder=tmp_path).stdout


@pytest.mark.parametrize("strategy", ["grid", "auto", "tests/examples/ema_cross.py"])
def test_init_without_a_terminal_takes_options_and_defaults_and_every_reader_takes_the_file(tmp_path, strategy):
    given = strategy if strategy in ("grid", "auto") else ROOT / strategy
    options = ("--strategy", given, "--pairs", "ethusdt,BTCUSDT", "--capital", 2500, "--name", "123")
    run("init", *options, folder=tmp_path)
    path = tmp_path / "bot.yaml"
    settings, config = load_bot(path)
    assert (settings.name, settings.environment) == ("123", "demo")
    assert config.pairs == ("BTCUSDT", "ETHUSDT")
    assert load_config(path).capital == 2500.0
    assert "# " in path.read_text()
    assert "exists" in run("init", folder=tmp_path, code=2).stderr
    assert load_bot(path)[0].name == "123"
    run("init", "--replace", folder=tmp_path)
    assert load_bot(path)[0].name == "main"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--strategy", "grdi", "did you mean 'grid'"),
        ("--pairs", "BTC USDT", "which is no symbol"),
        ("--pairs", ",", "pairs is empty"),
        ("--capital", "-1", "capital is -1"),
        ("--capital", "nan", "capital is nan"),
        ("--environment", "moon", "choose one of demo, testnet, live"),
        ("--name", "Main Bot", "1 to 8 lower-case"),
    ],
)
def test_init_refuses_an_option_in_a_sentence_and_writes_nothing(tmp_path, option, value, words):
    assert words in run("init", option, value, folder=tmp_path, code=2).stderr
    assert not (tmp_path / "bot.yaml").exists()


def test_init_asks_five_questions_and_asks_again_what_it_cannot_use(tmp_path):
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "init"],
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(terminal)
    os.write(master, b"grdi\ndca\nBTCUSDT, SOLUSDT\n\ntestnet\nsecond\n")
    said = b""
    while chunk := _read(master):
        said += chunk
    assert process.wait(60) == 0, said
    assert b"did you mean 'grid'" in said
    values = yaml.safe_load((tmp_path / "bot.yaml").read_text())
    assert (values["strategy"], values["pairs"], values["capital"]) == ("dca", ["BTCUSDT", "SOLUSDT"], 1000)
    assert (values["bot"]["environment"], values["bot"]["name"]) == ("testnet", "second")


def _read(master):
    try:
        return os.read(master, 4096)
    except OSError:  # how a pseudo-terminal says that the other side has closed
        return b""


def test_a_backtest_runs_on_the_config_of_a_bot(tmp_path):
    from backtesting.run import simulate
    from tests.conftest import walk

    run("init", folder=tmp_path)
    config = load_config(tmp_path / "bot.yaml", {"capital": 100_000})
    assert simulate(config, walk(120)).document.strategy == "grid"


def unit(text):
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return parser


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("watchdog", "watchdog"),
        ("telegram", "telegram run"),
        ("worker", "worker"),
        ("fleet", "fleet run --stop-bots"),
    ],
)
def test_what_stands_beside_a_bot_is_a_service_too(tmp_path, service, command):
    shown = run("install-service", "--service", service, folder=tmp_path).stdout
    assert unit(shown)["Service"]["ExecStart"].endswith(f" {command}")
    assert "stay at the venue" not in shown
    # Bots outlive a fleet that is killed: nothing else of its unit is killed with it, or because one lacks memory.
    outlive = ("process", "continue") if service == "fleet" else ("mixed", None)
    assert (unit(shown)["Service"]["KillMode"], unit(shown)["Service"].get("OOMPolicy")) == outlive
    (tmp_path / "a watchdog.yaml").write_text("bots: [main]")
    with_config = ("install-service", "a watchdog.yaml", "--service", service, "--out", "x.service")
    if service != "watchdog":
        assert f"is of no use to {service}" in run(*with_config, folder=tmp_path, code=2).stderr
        return
    assert "enable --now traderagent_watchdog.service" in run(*with_config, folder=tmp_path).stdout
    assert unit((tmp_path / "x.service").read_text())["Service"]["ExecStart"].endswith(f'"{tmp_path}/a watchdog.yaml"')


def test_a_service_that_is_none_or_lacks_its_config_is_a_sentence(tmp_path):
    said = run("install-service", "--service", "fax", folder=tmp_path, code=2).stderr
    assert "service is 'fax'; choose one of bot" in said
    assert "config is missing" in run("install-service", folder=tmp_path, code=2).stderr


def test_a_service_is_printed_or_written_where_it_is_told(tmp_path):
    folder = tmp_path / "with space"
    folder.mkdir()
    run("init", "--name", "second", folder=folder)
    shown = run("install-service", "bot.yaml", folder=folder).stdout
    service = unit(shown)["Service"]
    assert service["ExecStart"].endswith(f'run "{folder}/bot.yaml"')
    assert service["RestartPreventExitStatus"] == "2"
    assert service["EnvironmentFile"] == f"-{folder}/second.env"
    assert unit(shown)["Install"]["WantedBy"] == "default.target"
    said = run("install-service", "bot.yaml", "--out", folder / "a" / "x.service", folder=folder).stdout
    assert (folder / "a" / "x.service").read_text() == shown
    assert "enable-linger" in said
    whole = run("install-service", "bot.yaml", "--system", "trader", folder=folder).stdout
    assert unit(whole)["Service"]["User"] == "trader"
    assert unit(whole)["Install"]["WantedBy"] == "multi-user.target"
    assert "does not exist" in run("install-service", "none.yaml", folder=folder, code=2).stderr
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--user", folder / "a" / "x.service"], capture_output=True, check=False
        )
        assert b"x.service:" not in checked.stderr


def leave(data_dir, bot, *, process=None, events=()):
    """Leave what a bot leaves: its control file, its log."""
    (data_dir / "bots").mkdir(exist_ok=True)
    if process is not None:
        known = {"address": "http://127.0.0.1:1", "token": "t", "process": process}
        control_file(data_dir, bot).write_text(json.dumps(known))
    for event in events:
        with log_file(data_dir, bot).open("a") as out:
            out.write(json.dumps(event) + "\n")


@pytest.fixture
def dead():
    """Number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_without_a_name_the_only_running_bot_is_meant(tmp_path, dead):
    leave(tmp_path, "one", process=os.getpid())
    leave(tmp_path, "two", process=dead)
    assert file_of(tmp_path, None) == control_file(tmp_path, "one")
    leave(tmp_path, "two", process=os.getpid())
    with pytest.raises(Misconfigured, match="2 bots run: one, two; say which one with --bot"):
        file_of(tmp_path, None)
    assert file_of(tmp_path, "two") == control_file(tmp_path, "two")
    with pytest.raises(Misconfigured, match="is no name"):
        file_of(tmp_path, "../../etc/passwd")


ENDED = {"event": "ended", "reason": "`ctl stop` was said", "timestamp": "2026-01-02T03:04:05Z"}


def test_a_dead_bot_was_running_and_ended_because(tmp_path, dead):
    leave(tmp_path, "one", events=[{"event": "running", "timestamp": "2026-01-02T00:00:00Z"}, ENDED])
    words = "'one' was running, ended at 2026-01-02T03:04:05Z because `ctl stop` was said"
    for asked in ((), ("--bot", "one")):
        assert words in run("ctl", "status", *asked, folder=tmp_path, code=2).stderr
    leave(tmp_path, "one", process=dead, events=[{"event": "placed", "timestamp": "2026-01-03T00:00:00Z"}])
    said = run("ctl", "status", folder=tmp_path, code=2).stderr
    assert "ended at 2026-01-03T00:00:00Z because it was killed" in said
    assert "its last line was 'placed'" in said


def test_every_line_of_a_bot_is_kept_without_its_secrets_and_the_file_is_begun_anew_when_large(tmp_path, monkeypatch):
    import structlog

    from services import logs

    monkeypatch.setattr(logs, "LARGEST_LOG", 2000)
    file = tmp_path / "bots" / "one.log"
    configure(["hush-hush"], keep=file, libraries=False)
    for number in range(40):
        structlog.get_logger().info("placed", number=number, said="hush-hush")
    quieten()
    kept = tail(file, 1000)
    before = tail(file.with_name("one.log.1"), 1000)
    assert {"event": "placed", "number": 39, "said": "***"}.items() <= json.loads(kept[-1]).items()
    assert json.loads(before[-1])["number"] + 1 == json.loads(kept[0])["number"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_bot_that_is_ended_says_why_in_its_log(tmp_path):
    """To where it asks its exchange, which does not answer."""
    from tests.conftest import unreachable_bot

    path = unreachable_bot(tmp_path)
    environment = {"TRADERAGENT_KEY": "key-0123456789", "TRADERAGENT_SECRET": "secret-0123456789"}
    done = subprocess.run(
        [*COMMAND, "run", str(path)],
        cwd=ROOT,
        env={**os.environ, **environment, "TRADERAGENT_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 75  # not a refusal: the same again may work
    assert "did not answer" in done.stderr
    said = run("ctl", "status", folder=tmp_path, code=2).stderr
    assert "'house' was running, ended at 20" in said
    assert "did not answer" in said
    assert "secret-0123456789" not in log_file(tmp_path, "house").read_text()


def test_logs_are_shown_and_followed(tmp_path):
    leave(tmp_path, "one", events=[{"event": "running", "level": "info", "bot": "one"}, {**ENDED, "level": "error"}])
    assert run("logs", folder=tmp_path).stdout == (
        "running bot=one\n2026-01-02T03:04:05 ERROR ended reason=`ctl stop` was said\n"
    )
    assert run("logs", "--lines", 1, "--json", folder=tmp_path).stdout == json.dumps({**ENDED, "level": "error"}) + "\n"
    assert "has no log" in run("logs", "--bot", "two", folder=tmp_path, code=2).stderr
    with subprocess.Popen(
        [*COMMAND, "logs", "--follow"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRADERAGENT_DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "running bot=one\n"
        process.stdout.readline()
        leave(tmp_path, "one", events=[{"event": "placed"}])
        assert process.stdout.readline() == "placed\n"
        log_file(tmp_path, "one").unlink()
        leave(tmp_path, "one", events=[{"event": "begun"}])  # shorter than it was
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == "interrupted\n"


FILLS = [  # symbol, side, lots, fee, cause, position after, realised, second
    ("BTCUSDT", 1, 10, 1.0, "order", 10, 0.0, 1),
    ("BTCUSDT", 1, 0, 0.5, "funding", None, None, 2),
    ("BTCUSDT", -1, 4, 1.0, "order", 6, 20.0, 3),
    ("ETHUSDT", -1, 5, 1.0, "order", -5, 0.0, 3),
    ("BTCUSDT", -1, 6, 1.0, "order", 0, 30.0, 3),
    ("ETHUSDT", 1, 8, 2.0, "stop", 3, -40.0, 4),
    ("ETHUSDT", -1, 3, 0.0, "order", 0, 7.0, 5),
    ("SOLUSDT", 1, 1, 0.0, "order", 1, 0.0, 6),
]


def stored(dsn, bot):
    """Store those fills; those of one moment lie in the wrong order."""

    async def work():
        await migrate(dsn)
        store = await PostgresStore.open(dsn, bot)
        for number, (symbol, side, lots, fee, cause, position, realised, second) in enumerate(FILLS):
            await store.pool.execute(
                "INSERT INTO fills (bot, execution, symbol, client_order_id, side, price, lots, fee, maker, cause, "
                "position, realised, at) VALUES ($1, $2, $3, '', $4, 100, $5, $6, false, $7, $8, $9, $10)",
                *(bot, f"{90 - number}", symbol, side, lots, fee, cause, position, realised),
                datetime.fromtimestamp(second, UTC),
            )
        await store.close()

    asyncio.run(work())


def test_closed_trades_and_figures_of_a_bot(dsn, name, tmp_path):
    stored(dsn, name)
    closed, payments = asyncio.run(closed_trades(dsn, name))
    assert [(one.pair, one.side, one.profit, one.fees, one.fills) for one in closed] == [
        ("BTCUSDT", "long", 47.0, 3.0, 3),
        ("ETHUSDT", "short", -43.0, 3.0, 2),
        ("ETHUSDT", "long", 7.0, 0.0, 2),
    ]
    assert payments == {"BTCUSDT": -0.5}
    found = figures(closed, payments)
    assert (found["trades"], found["profit"], found["fees"], found["funding"]) == (3, 11.0, 6.0, -0.5)
    assert found["win_rate_pct"] == pytest.approx(200 / 3)
    assert found["profit_factor"] == pytest.approx(54 / 43)
    assert found["pairs"]["ETHUSDT"] == {"trades": 2, "profit": -36.0}
    assert Cause("stop") is Cause.STOP


def test_stats_show_them_for_a_config_and_nothing_for_a_bot_without_trades(dsn, name, tmp_path):
    stored(dsn, name)
    config = {"strategy": "grid", "pairs": ["BTCUSDT"], "bot": {"name": name, "database": dsn}}
    (tmp_path / "bot.yaml").write_text(yaml.safe_dump(config))
    shown = run("stats", "bot.yaml", folder=tmp_path).stdout
    assert "win rate pct" in shown
    assert "+47.00" in shown
    told = json.loads(run("stats", "bot.yaml", "--json", folder=tmp_path).stdout)
    assert told["figures"]["trades"] == len(told["trades"]) == 3
    (tmp_path / "none.yaml").write_text(yaml.safe_dump({**config, "bot": {"name": "idle", "database": dsn}}))
    assert "has closed no trade yet" in run("stats", "none.yaml", folder=tmp_path).stdout
    assert "has no rows" in run("stats", "--bot", "nobody", folder=tmp_path, code=2).stderr


def kept_run(folder, name, at):
    place = folder / "runs" / name
    place.mkdir(parents=True)
    document = {"strategy": "grid", "pair": "BTCUSDT", "from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z"}
    metrics = {"total_return_pct": 1.25, "max_drawdown_pct": 3.0}
    (place / "result.json").write_text(json.dumps({**document, "metrics": metrics}))
    (place / "report.html").write_text("")
    os.utime(place / "result.json", (at, at))


def test_runs_are_listed_opened_and_deleted_after_a_yes(tmp_path):
    assert "No runs are kept" in run("runs", "list", folder=tmp_path).stdout
    for number, name in enumerate(("first", "second", "third")):
        kept_run(tmp_path, name, 1_700_000_000 + number)
    (tmp_path / "runs" / "mine").mkdir()  # no run
    shown = run("runs", "list", folder=tmp_path).stdout
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["third", "second", "first"]
    assert "+1.25" in shown
    assert run("runs", "open", folder=tmp_path).stdout.strip() == str(tmp_path / "runs" / "third" / "report.html")
    assert run("runs", "open", "first", folder=tmp_path).stdout.strip().endswith("first/report.html")
    for name in ("mine", "../runs/first", "", "."):
        assert "is not kept" in run("runs", "delete", name, "--yes", folder=tmp_path, code=2).stderr
    assert "give --yes" in run("runs", "delete", "first", folder=tmp_path, code=2).stderr
    run("runs", "delete", "first", "second", "--yes", folder=tmp_path)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mine", "third"]
