"""A user's strategy lives in a name space of its own, is loaded once for each version, and travels by name."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from ray import cloudpickle

from bot.errors import Misconfigured
from bot.sources import ROOT
from bot.strategy import load_strategy
from bot.strategy_file import own_sources
from coordinator.config import load_config

EXAMPLE = (ROOT / "tests" / "examples" / "ema_cross.py").read_text()


def written(folder, name, *, head="", text=EXAMPLE):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + text)
    return f"{path}:EMA_CROSS"


def module_of(strategy):
    return sys.modules[strategy.decide.__module__]


def test_a_file_named_as_a_module_of_python_replaces_nothing(tmp_path):
    """F-87."""
    path, loaded = list(sys.path), set(sys.modules)
    strategy = load_strategy(written(tmp_path, "json.py", head="import json\nUSED = json\n"))
    assert strategy.name == "ema_cross"
    assert sys.modules["json"] is json
    assert module_of(strategy).USED is json, "nor does it for the file itself"
    assert sys.path == path
    assert {name.split(".")[0] for name in set(sys.modules) - loaded} <= {"bot"}


@pytest.mark.parametrize("name", ["statistics", "numpy", "bot"])
def test_a_neighbour_replaces_neither_pythons_nor_installed_nor_our_modules(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    strategy = load_strategy(written(tmp_path, "mine.py", head=f"import {name}\nimport statistics as used\n"))
    assert module_of(strategy).used is statistics


def test_neighbours_are_those_of_the_file(tmp_path):
    found = []
    for folder, value in (("one", 1), ("two", 2)):
        reference = written(tmp_path / folder, "mine.py", head="from helper import VALUE\n")
        (tmp_path / folder / "helper.py").write_text(f"VALUE = {value}\n")
        found.append(module_of(load_strategy(reference)).VALUE)
    assert found == [1, 2]
    assert "helper" not in sys.modules


IMPORTS = """
import helper, json as _json
import helper as named
import pkg.deep
import pkg.deep as leaf
import plain.inner
from pkg import deep, A
from pkg.deep import VALUE as value
from . import helper as relative
from helper import *
def late():
    from pkg.later import B
    return B
"""


def test_every_form_of_import_finds_the_neighbours(tmp_path):
    reference = written(tmp_path, "mine.py", head=IMPORTS)
    written(tmp_path, "helper.py", text="C = 3\n")
    written(tmp_path, "pkg/__init__.py", text="from pkg.later import B\nA = 1\n")
    written(
        tmp_path, "pkg/deep.py", text="from . import later\nfrom .later import B\nimport helper\nVALUE = helper.C\n"
    )
    written(tmp_path, "pkg/later.py", text="B = 2\n")
    written(tmp_path, "plain/inner.py", text="D = 4\n")
    module = module_of(load_strategy(reference))
    assert (module.helper.C, module.named.C, module.relative.C, module.C, module._json) == (3, 3, 3, 3, json)
    assert module.pkg.deep is module.leaf is module.deep
    assert (module.value, module.A, module.plain.inner.D, module.late()) == (3, 1, 4, 2)
    assert not {"helper", "pkg", "plain"} & set(sys.modules)


def test_an_unchanged_file_is_loaded_once_and_a_changed_one_anew(tmp_path):
    reference = written(tmp_path, "mine.py", head="from helper import VALUE\n")
    helper, unused = tmp_path / "helper.py", tmp_path / "unused.py"
    helper.write_text("VALUE = 1\n")
    first = load_strategy(reference)
    unused.write_text("VALUE = 1\n")
    assert load_strategy(reference) is first
    helper.write_text("VALUE = 1  # a comment\n")
    assert load_strategy(reference) is first
    helper.write_text("VALUE = 2\n")
    second = load_strategy(reference)
    assert (module_of(first).VALUE, module_of(second).VALUE) == (1, 2)
    written(
        tmp_path, "mine.py", head="from helper import VALUE\n", text=EXAMPLE.replace('"ema_cross", 1', '"ema_cross", 7')
    )
    assert load_strategy(reference).version == 7
    assert first.version == second.version == 1


def test_a_file_that_cannot_be_loaded_is_loaded_once_it_is_mended(tmp_path):
    reference = written(tmp_path, "mine.py", head="from helper import VALUE\n")
    with pytest.raises(Misconfigured, match="helper"):
        load_strategy(reference)
    (tmp_path / "helper.py").write_text("VALUE = (\n")
    with pytest.raises(Misconfigured, match="cannot be loaded"):
        load_strategy(reference)
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    assert load_strategy(reference).name == "ema_cross"


def test_a_module_under_the_folder_of_the_program_is_a_file_of_the_users_too(tmp_path, monkeypatch):
    written(tmp_path, "pkg/json.py", head="from pkg import beside\nfrom .beside import A\nimport above\n")
    (tmp_path / "pkg" / "beside.py").write_text("A = 1\n")
    (tmp_path / "above.py").write_text("A = 1\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    strategy = load_strategy("pkg.json:EMA_CROSS")
    assert load_strategy("pkg.json:EMA_CROSS") is strategy
    assert module_of(strategy).above.A == 1
    assert sys.path == path
    assert not {"pkg", "above"} & set(sys.modules)
    names = {one.name for one in own_sources(strategy.decide.__module__)}
    assert names == {"json.py", "beside.py", "above.py"}


READ = """
import pickle, sys
config = pickle.load(sys.stdin.buffer)
again = pickle.loads(pickle.dumps(config))
assert again.loaded is config.loaded
print(config.loaded.name, config.parameters.fast, config.loaded.slots(None), type(config.parameters).__module__)
"""


def read_elsewhere(content):
    command = [sys.executable, "-c", READ]
    done = subprocess.run(command, cwd=ROOT, input=content, capture_output=True, check=False)
    return done.stdout.decode().split(), done.stderr.decode()


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["spawn", "ray"])
def test_a_config_with_a_users_strategy_travels_to_another_process_by_name(tmp_path, pickler):
    reference = written(tmp_path, "mine.py", head="from helper import VALUE\n")
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    config = load_config({"strategy": reference, "pair": "BTCUSDT", "ema_cross": {"fast": 24}})
    content = pickler.dumps(config)
    out, said = read_elsewhere(content)
    assert out == ["ema_cross", "24", "2", config.loaded.decide.__module__], said
    (tmp_path / "helper.py").write_text("VALUE = 2\n")
    out, said = read_elsewhere(content)
    assert not out
    assert f"Misconfigured: strategy {Path(tmp_path) / 'mine'}.py is missing here or has changed" in said


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["spawn", "ray"])
def test_a_config_with_a_built_in_strategy_travels_too(pickler):
    config = load_config({"strategy": "grid", "pair": "BTCUSDT"})
    assert pickler.loads(pickler.dumps(config)).loaded is config.loaded


VERSIONS = """
import sys
from pathlib import Path
from bot.kernel import specialise, template
from bot.strategy import load_strategy
@template
def entry(value):
    return decide(value)
for file in sys.argv[1:]:
    decide = load_strategy(f"{file}:EMA_CROSS").decide
    print(specialise(entry, "ema_cross", inlined=False, decide=sys.modules[decide.__module__].deep)(9))
"""
DEEP = """
@kernel
def deep(value):
    return 0 if value < 1 else VALUE + deep(value - 1)
"""


def test_machine_code_of_two_versions_keeps_apart_in_one_process(tmp_path):
    """Each was compiled by a process of its own, where Numba gave its functions the same numbers."""
    (tmp_path / "program.py").write_text(VERSIONS)
    files = []
    for value in (1, 2):
        written(tmp_path, f"{value}/mine.py", text=f"{EXAMPLE}{DEEP}VALUE = {value}\n")
        files.append(str(tmp_path / str(value) / "mine.py"))

    def told(*chosen):
        command = [sys.executable, tmp_path / "program.py", *chosen]
        environment = {
            **os.environ,
            "TRADERAGENT_CACHE_DIR": str(tmp_path / "c"),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.split(), done.stderr

    for file, value in zip(files, ("9", "18")):
        assert told(file)[0] == [value]
    assert told(*files) == (["9", "18"], "")
    moved = shutil.copytree(tmp_path / "1", tmp_path / "elsewhere") / "mine.py"
    shutil.rmtree(tmp_path / "1")
    moved.write_text("# a comment\n" + moved.read_text())
    assert told(str(moved)) == (["9"], ""), "nor does it matter where the file lies"
