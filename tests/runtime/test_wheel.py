"""The wheel alone, in an environment that has nothing else: it holds every file, and what is installed runs."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.runtime.processes import Processes

PYPROJECT_PACKAGES = ("bot", "filters", "strategies", "coordinator", "backtesting", "search", "services")
UNREACHABLE = ("failed to fetch", "error sending request", "dns error", "could not connect")


def uv(*arguments):
    """Run uv; skip where it, or a package index that it needs, is not there."""
    program = shutil.which("uv")
    if program is None:
        pytest.skip("uv is not installed")
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and any(word in done.stderr.lower() for word in UNREACHABLE):
        pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--out-dir", str(folder))
    return next(folder.glob("*.whl"))


@pytest.fixture
def installed(wheel, tmp_path):
    """Processes of what the wheel installs, in a folder without the checkout."""
    environment = tmp_path / "environment"
    uv("venv", str(environment))
    uv("pip", "install", "--python", str(environment), str(wheel))
    processes = Processes(tmp_path / "data")
    processes.folder.mkdir()
    processes.command = [str(next(environment.glob("*/traderagent*")))]
    processes.root = tmp_path
    processes.environment = {name: value for name, value in processes.environment.items() if name != "PYTHONPATH"}
    yield processes
    processes.end()


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    files = {
        str(path.relative_to(ROOT).as_posix())
        for package in PYPROJECT_PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    assert held == files
    assert {Path(name).suffix for name in held} >= {".py", ".html", ".csv", ".json"}


@pytest.mark.slow
def test_a_fresh_environment_with_the_wheel_alone_runs_demo_backtest_and_doctor(installed):
    done = {"data": installed.finished("data", "synth", "--pairs", "BTCUSDT", "--days", "15", "--seed", "7")}
    done["backtest"] = installed.finished("backtest", "--strategy", "grid", "--pair", "BTCUSDT", "--out", "run")
    done["demo"] = installed.finished("demo", "--minutes", "60", "--speed", "1000")
    address = installed.venue(["BTCUSDT"], 10_000)
    done["doctor"] = installed.finished("doctor", installed.config("main", address, ["BTCUSDT"], 10_000))
    for name, one in done.items():
        assert one.returncode == 0, (name, one.stdout, one.stderr)
    assert (installed.root / "run" / "report.html").stat().st_size > 10_000
    assert yaml.safe_load((installed.root / "run" / "config.yaml").read_text())["strategy"] == "grid"
    assert "trading ready" in done["demo"].stdout
    assert "fills" in done["demo"].stdout.splitlines()[-1]
    assert "fine" in done["doctor"].stdout
