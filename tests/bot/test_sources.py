"""Which sources code depends on, and which differences between two sources are none."""

from __future__ import annotations

import shutil
from types import FunctionType, ModuleType

import pytest

from backtesting import loop, portfolio_loop, stepwise, trades
from bot import rollup
from bot.kernel import _reached, _start, _templates
from bot.sources import PACKAGES, ROOT, closure, code_hash, is_provided
from bot.strategy import load_strategy
from coordinator import compiled
from coordinator import pair as pair_step
from coordinator.config_file import BUILT_IN
from coordinator.roster import Roster

ENTRIES = {
    **{name: [loop.loop, load_strategy(place).decide] for name, place in BUILT_IN.items()},
    "auto": [portfolio_loop.portfolio_loop, pair_step.decide, *_reached([Roster().dispatch()])],
    "live": [compiled.dispatch_event, pair_step.decide, *_reached([Roster().dispatch()])],
    "portfolio": [compiled.evaluate_or_share],
    "venue": [stepwise.next_fill, stepwise.nobody],
    "bars": [rollup.roll],
    "trades": [trades.match],
}


def python(function):
    return getattr(function, "py_func", function)


def starts(name):
    return [_start(python(function)) for function in ENTRIES[name]]


def reached(functions):
    """Every function of ours that the code of these may call, through the globals that they name."""
    found, waiting = set(), [one for function in functions for one in (*_parts(function), function)]
    while waiting:
        function = python(waiting.pop())
        if not isinstance(function, FunctionType) or function in found:
            continue
        found.add(function)
        known = [function.__globals__.get(name) for name in function.__code__.co_names]
        modules = [one for one in known if isinstance(one, ModuleType)]
        waiting += known + [getattr(one, name, None) for one in modules for name in function.__code__.co_names]
    return found


def _parts(function):
    return [] if hasattr(function, "py_func") else _templates(function)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_function_in_machine_code_stands_in_the_sources_it_is_named_by(name):
    files = {str(path) for path in closure(starts(name))}
    functions = reached(ENTRIES[name])
    assert len(functions) > 2 or name in ("bars", "trades")
    named = {one.__code__.co_filename for one in functions}  # a library's too where a field has its function's name
    assert {one for one in named if str(ROOT) in one and "site-packages" not in one} <= files


def test_what_nobody_compiles_names_no_machine_code():
    files = {path.relative_to(ROOT).as_posix() for name in ENTRIES for path in closure(starts(name))}
    assert "bot/instrument.py" in files, "kernels take their constants from what they import"
    for name in ("coordinator/strategy_loop.py", "backtesting/reports/page.py", "backtesting/result.py"):
        assert (ROOT / name).exists()
        assert name not in files, "an edit of what nobody compiles is to compile nothing"
    grid = {path.relative_to(ROOT).as_posix() for path in closure(starts("grid"))}
    assert "strategies/grid/decisions.py" in grid
    assert "strategies/dca.py" not in grid, "an edit of one strategy is to compile no other"


def test_an_edit_of_a_source_changes_the_code_that_imports_it_and_a_comment_changes_none(tmp_path):
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    files = [(tmp_path / path.relative_to(ROOT), tmp_path) for path, _ in starts("dca")]

    def now():
        return code_hash(closure(files, tmp_path))

    before = now()
    assert before == code_hash(closure(starts("dca"))), "the same sources are the same code wherever they lie"
    found = {path.relative_to(tmp_path).as_posix() for path in closure(files, tmp_path)}
    for name in (
        "bot/order.py",
        "strategies/dca.py",
        "strategies/grid/cells.py",
        "backtesting/loop.py",
        "filters/smc.py",
    ):
        source = tmp_path / name
        source.write_text("# a comment\n" + source.read_text() + '\n"no docstring, and no code"\n# another\n')
        source.write_text(source.read_text().replace('"no docstring, and no code"', ""))
        assert now() == before, f"a comment in {name}"
        source.write_text(source.read_text() + "EDITED = 1\n")
        assert (now() != before) == (name in found), name
        before = now()


USER = {
    "mine.py": "import near\nimport json\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import only_types\n"
    "import pkg.deep\nimport bot.order\ndef late():\n    from pkg.late import X\n",
    "near.py": "from farther import A\n",
    "farther.py": "A = 1\n",
    "json.py": "A = 1\n",
    "only_types.py": "A = 1\n",
    "unused.py": "A = 1\n",
    "pkg/__init__.py": "A = 1\n",
    "pkg/deep.py": "from .beside import A as B\nfrom .. import above\nfrom ..statistics import A\n",
    "pkg/beside.py": "A = 1\n",
    "pkg/late.py": "X = 1\n",
    "above.py": "A = 1\n",
    "statistics.py": "A = 1\n",
}
IMPORTED = {"mine.py", "near.py", "farther.py", "pkg/__init__.py", "pkg/deep.py", "pkg/beside.py", "pkg/late.py"}
IMPORTED |= {"above.py", "statistics.py"}  # by dots, so not Python's


@pytest.fixture
def user(tmp_path):
    (tmp_path / "pkg").mkdir()
    for name, text in USER.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_users_file_depends_on_what_it_imports_and_on_nothing_else(user):
    """F-87."""
    found = closure([(user / "mine.py", user)], None)
    assert {path.relative_to(user).as_posix() for path in found} == IMPORTED
    assert found[user / "pkg" / "__init__.py"] == "pkg"
    both = closure([(user / "mine.py", user)])
    assert ROOT / "bot" / "order.py" in both, "and on what it imports of the project"


@pytest.mark.parametrize("name", USER)
def test_a_users_code_changes_with_what_it_imports_alone(user, name):
    before = code_hash(closure([(user / "mine.py", user)], None))
    (user / name).write_text(USER[name] + "# A = 2\n")
    assert code_hash(closure([(user / "mine.py", user)], None)) == before, "a comment"
    (user / name).write_text(USER[name] + "A = 2\n")
    after = code_hash(closure([(user / "mine.py", user)], None))
    assert (after != before) == (name in IMPORTED)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("def f(x):\n    'Double.'\n    return 2 * x\n", "def f(x):\n    return 2 * x\n", True),
        ("'Head.'\nA = 1\n", "A=1 # one\n", True),
        ("class C:\n    'One.'\n    a = 1\n", "class C:\n    'Two.'\n    a = 1\n", True),
        ("def f(x):\n    return 2 * x\n", "def f(x):\n    return 3 * x\n", False),
        ("A = 'text'\n", "A = 'texts'\n", False),
        ("def f(x):\n    x += 1\n    'text'\n", "def f(x):\n    x += 2\n    'text'\n", False),
        ("this is no Python", "this is no Python, either", False),
    ],
)
def test_sources_are_the_same_code_where_they_mean_the_same(tmp_path, first, second, same):
    hashes = []
    for text in (first, second):
        (tmp_path / "code.py").write_text(text)
        hashes.append(code_hash({tmp_path / "code.py": "code"}))
    assert (hashes[0] == hashes[1]) == same


def test_python_and_installed_packages_go_before_a_users_files():
    assert all(is_provided(name) for name in ("json", "numpy", "sys", "bot", "services", "yaml"))
    assert not is_provided("my_helper")
