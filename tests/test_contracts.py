"""Each import contract can fail: a copy of the sources with one import too many breaks that contract and no other."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

from bot.sources import ROOT

OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
NAMES = [contract["name"] for contract in OPTIONS["contracts"]]

# The contract (how its name begins), the file, and what is imported there.
BREAKS = [
    ("Each floor", "bot/ledger.py", "filters.zones"),
    ("Each floor", "bot/ledger.py", "services.settings"),
    ("Each floor", "strategies/trend.py", "filters.smc"),
    ("Each floor", "filters/smc.py", "strategies.trend"),
    ("Each floor", "filters/zones.py", "coordinator.risk"),
    ("Each floor", "coordinator/risk.py", "services.settings"),
    ("Each floor", "backtesting/candles.py", "services.settings"),
    ("Strategies are strangers", "strategies/grid/decisions.py", "strategies.dca"),
    ("Strategies are strangers", "strategies/dca.py", "strategies.trend"),
    ("Results do not draw", "backtesting/result.py", "backtesting.reports.charts"),
    ("Results do not draw", "backtesting/metrics.py", "matplotlib"),
    ("Nobody imports the front door", "services/command_line/main.py", "bot.__main__"),
    ("Below services nobody", "backtesting/candles.py", "ccxt"),
    ("Below services nobody", "coordinator/strategy_loop.py", "asyncpg"),
    ("Below services nobody", "strategies/trend.py", "time"),
    ("Below services nobody", "coordinator/portfolio.py", "time"),
    ("Below services nobody", "backtesting/exchange.py", "random"),
    ("Below services nobody", "bot/order.py", "uuid"),
    ("Below services nobody", "coordinator/reconcile.py", "asyncio"),
    ("Below services nobody", "coordinator/config.py", "socket"),
    ("Services are strangers", "services/exchanges/bybit/gateway.py", "services.storage.store"),
    ("Services are strangers", "services/market_data/store.py", "services.messaging.bus"),
    ("Services are strangers", "services/settings.py", "services.messaging.bus"),
    ("Services are strangers", "services/runtime/live.py", "services.control.server"),
    ("Services are strangers", "services/runtime/cluster.py", "services.app.backing"),
    ("Services are strangers", "services/app/backing.py", "services.trials.lockstep"),
    ("Services are strangers", "services/trials/parity.py", "services.command_line.console"),
    ("Services are strangers", "services/web/watch.py", "services.storage.history"),
    ("Services are strangers", "services/storage/history.py", "services.web.ports"),
    ("Only the console knows", "services/app/console.py", "fastapi"),
    ("A bot that trades", "services/web/pairs.py", "polars"),
    ("Strategies and filters", "strategies/grid/cells.py", "pathlib"),
    ("Strategies and filters", "filters/smc.py", "os"),
    ("Below services only the loops", "coordinator/portfolio.py", "structlog"),
    ("Below services only the loops", "backtesting/exchange.py", "logging"),
    ("An exchange is found", "services/app/bot.py", "services.exchanges.bybit.gateway"),
    ("An exchange is found", "services/command_line/live.py", "services.exchanges.bybit.errors"),
    ("Only what speaks with exchanges", "services/runtime/live.py", "ccxt"),
    ("Services are strangers", "services/market_data/store.py", "services.command_line.console"),
    ("Services are strangers", "services/exchanges/registry.py", "services.runtime.config"),
    ("Services are strangers", "services/market_data/synth.py", "services.runtime.metrics"),
    ("A bot that trades", "services/runtime/status.py", "backtesting.exchange"),
    ("A bot that trades", "coordinator/config.py", "polars"),
    ("One file knows Ray", "services/runtime/local.py", "ray"),
    ("Only Telegram", "services/app/console.py", "aiogram"),
]

# Run in the copy. Prints a list of names of broken contracts for the copy as it is, then for each [file, module] with
# that file importing that module.
LINT = """
import json, pathlib, sys
from importlinter import configuration
from importlinter.application import use_cases

configuration.configure()
use_cases._register_built_in_contract_types()

def broken():
    report = use_cases.create_report(use_cases.read_user_options(), cache_dir=None)
    return [contract.name for contract, check in report.get_contracts_and_checks() if not check.kept]

sys.path.insert(0, "")
found = [broken()]
for file, module in json.loads(sys.argv[1]):
    path = pathlib.Path(file)
    source = path.read_text(encoding="utf-8")
    path.write_text(f"{source}\\nimport {module}\\n", encoding="utf-8")
    found.append(broken())
    path.write_text(source, encoding="utf-8")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The contracts that each import breaks; at `None` those that the sources break as they are."""
    copy = tmp_path_factory.mktemp("copy")
    for package in OPTIONS["root_packages"]:
        for source in (ROOT / package).rglob("*.py"):
            target = copy / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    shutil.copy(ROOT / "pyproject.toml", copy)
    asked = json.dumps([case[1:] for case in BREAKS])
    done = subprocess.run([sys.executable, "-c", LINT, asked], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip([None, *BREAKS], json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_the_sources_keep_every_contract(broken):
    assert broken[None] == []


@pytest.mark.parametrize("case", BREAKS, ids=lambda case: f"{case[1]}-{case[2]}")
def test_a_broken_contract_is_found_and_no_other(broken, case):
    """F-40: also that no strategy needs another."""
    assert broken[case] == [name for name in NAMES if name.startswith(case[0])]


def test_every_contract_is_broken_once():
    unbroken = [name for name in NAMES if not any(name.startswith(case[0]) for case in BREAKS)]
    assert unbroken == []


def circle(imports):
    """Modules that import each other in a circle, by name; empty where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_two_modules_import_each_other_in_a_circle():
    """Also in functions and for annotations."""
    graph = grimp.build_graph(*OPTIONS["root_packages"], cache_dir=None)
    assert circle({one: graph.find_modules_directly_imported_by(one) for one in graph.modules}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) != []


@pytest.fixture(scope="module")
def nodes():
    """What every source consists of, by file."""
    files = [path for package in OPTIONS["root_packages"] for path in (ROOT / package).rglob("*.py")]
    return {
        path.relative_to(ROOT).as_posix(): list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))) for path in files
    }


def test_lengths_of_time_are_written_once(nodes):
    lengths = {60_000, 3_600_000, 86_400_000, 604_800_000}
    found = [
        f"{file}:{node.lineno}"
        for file, own in nodes.items()
        for node in own
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in lengths
    ]
    assert found == [], "bot/times.py has them"


def test_each_class_name_is_defined_once(nodes):
    count = Counter(node.name for own in nodes.values() for node in own if isinstance(node, ast.ClassDef))
    assert sorted(name for name, times in count.items() if times > 1) == []


def asks(source):
    """Calls that read a clock or throw dice without an import that a contract could see, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            seeded = called.startswith("np.random.default_rng") and (node.args or "(" in called)
            dice = called.startswith("np.random.") and not seeded
            if dice or node.func.attr in {"now", "today", "utcnow"}:
                yield f"{node.lineno}: {called}"


def test_below_services_no_clock_is_read_and_no_dice_are_thrown():
    found = {
        path.relative_to(ROOT).as_posix(): list(asks(path.read_text(encoding="utf-8")))
        for package in ("bot", "filters", "strategies", "coordinator", "backtesting")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {file: lines for file, lines in found.items() if lines} == {}
    assert list(asks("datetime.now(UTC)\nnp.random.normal()\nnp.random.default_rng()\nnp.random.default_rng(1)")) == [
        "1: datetime.now",
        "2: np.random.normal",
        "3: np.random.default_rng",
    ]
