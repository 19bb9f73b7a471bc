"""Machine code on disk: who finds it again, what is left of an interrupted start, and what people are told."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from bot.sources import ROOT

MINE = """
from bot.kernel import kernel, template
from near import FACTOR

@kernel
def decide(value):
    return value * FACTOR

@template
def first(value):
    return decide(value) + 1.0

@template
def second(value):
    return decide(value) + 2.0
"""
PROGRAM = """
import sys
import mine
from bot.kernel import specialise
for entry in (mine.first, mine.second):
    print(specialise(entry, "test", inlined=False, decide=mine.decide)(2.0), flush=True)
"""
SAID = [
    "compiling mine.first (test) for this machine",
    "compiled mine.first (test) in # s",
    "compiling mine.second (test) for this machine",
    "compiled mine.second (test) in # s",
]


def checkout(folder):
    """The ground floor, as a checkout or an installed wheel has it, with some kernels and a program beside it."""
    shutil.copytree(ROOT / "bot", folder / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mine.py").write_text(MINE)
    (folder / "near.py").write_text("FACTOR = 3.0\n")
    (folder / "program.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def house(tmp_path):
    return checkout(tmp_path / "one")


def played(folder, *, program="program.py", code=0, given=""):
    """What the program printed, and what it said meanwhile, with no terminal anywhere."""
    cache = folder.parent / "kernels"
    environment = {**os.environ, "TRADERAGENT_CACHE_DIR": str(cache), "PYTHONPATH": "", "PYTHONWARNINGS": "error"}
    # Python takes a file that is edited twice within a second, to the same length, for the one it has bytecode of.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, program]
    done = subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout.split(), [re.sub(r"\b\d+\.\d s", "# s", line) for line in done.stderr.splitlines()]


def kept(folder):
    return sorted(path.name.split("-")[0] for path in (folder.parent / "kernels").rglob("*.nbc"))


def test_each_compilation_is_told_without_a_terminal_and_a_start_that_finds_its_code_says_nothing(house):
    assert played(house) == (["7.0", "8.0"], SAID)
    assert played(house) == (["7.0", "8.0"], [])


def test_another_checkout_with_other_comments_uses_the_machine_code_and_an_edit_does_not(house):
    played(house)
    other = checkout(house.parent / "two")
    for name in ("mine.py", "near.py", "bot/kernel.py"):
        text = (other / name).read_text()
        (other / name).write_text("# another line\n\n" + text + "# and one more\n")
        os.utime(other / name, (1_000_000, 1_000_000))
    shutil.rmtree(house)  # what it left in the cache is enough
    assert played(other) == (["7.0", "8.0"], [])
    (other / "near.py").write_text("FACTOR = 5.0\n")
    assert played(other) == (["11.0", "12.0"], SAID)
    (other / "near.py").write_text("FACTOR = 3.0\n")
    assert played(other) == (["7.0", "8.0"], []), "both versions are kept"


KILLED = """
import os, signal
from bot import kernel_cache
def tell(code, seconds):
    if "second" in code:
        HOW
kernel_cache.tell = tell
"""


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.kill(os.getpid(), signal.SIGINT)", -2),  # Ctrl-C
    ],
)
def test_an_interrupted_compilation_keeps_what_it_had(house, how, code):
    (house / "killed.py").write_text(KILLED.replace("HOW", how) + PROGRAM)
    out, _ = played(house, program="killed.py", code=code)
    assert out == ["7.0"]
    assert kept(house) == ["first_test"]
    assert played(house) == (["7.0", "8.0"], SAID[2:])
    assert kept(house) == ["first_test", "second_test"]


TORN = """
import os
from pathlib import Path
write = Path.write_bytes
def torn(path, content):
    write(path, content[: len(content) // 2])
    HOW
Path.write_bytes = torn
"""


@pytest.mark.parametrize(("how", "code"), [("os._exit(3)", 3), ("raise KeyboardInterrupt", -2)])
def test_a_file_that_was_half_written_is_no_machine_code(house, how, code):
    (house / "torn.py").write_text(TORN.replace("HOW", how) + PROGRAM)
    played(house, program="torn.py", code=code)
    assert kept(house) == []
    assert played(house) == (["7.0", "8.0"], SAID)


def test_a_damaged_file_is_compiled_again(house):
    played(house)
    for path in (house.parent / "kernels").rglob("*.nbc"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content if "first" in path.name else content[:100])
    assert played(house) == (["7.0", "8.0"], SAID)
    assert played(house) == (["7.0", "8.0"], [])


SPAWNED = """
import multiprocessing
import sys
import mine
from bot.kernel import cache_directory
NUMBER = 1
def told():
    print(cache_directory([mine.first, mine.decide]), flush=True)
if __name__ == "__main__":
    told()
    child = multiprocessing.get_context("spawn").Process(target=told)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


def test_neither_a_process_nor_one_that_it_spawns_takes_the_calling_script_for_a_source(house):
    (house / "caller.py").write_text(SPAWNED)
    (house / "another.py").write_text(SPAWNED.replace("NUMBER = 1", "NUMBER = 2"))
    told = played(house, program="caller.py")[0] + played(house, program="another.py")[0]
    assert len(told) == 4
    assert len(set(told)) == 1


def test_kernels_in_the_script_itself_have_the_same_machine_code_in_a_spawned_process(house):
    text = SPAWNED.replace("mine.first, mine.decide", "mine.first, here")
    (house / "caller.py").write_text(text.replace("NUMBER", "@mine.kernel\ndef here(value):\n    return value\nNUMBER"))
    first = played(house, program="caller.py")[0]
    assert first[0] == first[1]
    (house / "caller.py").write_text((house / "caller.py").read_text().replace("return value", "return -value"))
    assert played(house, program="caller.py")[0][0] != first[0], "here the script is a source"


DATA = """
import mine
import near
from pathlib import Path
import numpy as np
from bot.kernel import kernel, specialise
import given

def make(power):
    @kernel
    def decide(value):
        return inner(value) ** power
    return decide

@kernel
def inner(value):
    return value + WEIGHTS[1] + given.OFFSET

WEIGHTS = np.loadtxt("weights.txt")
print(*(specialise(mine.first, "test", inlined=False, decide=make(power))(2.0) for power in (1, 2)))
"""


def test_data_that_becomes_part_of_machine_code_counts_as_its_sources_do(house):
    """Weights of a model, say: their file may change and the source that reads it not."""
    (house / "data.py").write_text(DATA)
    (house / "given.py").write_text("from pathlib import Path\nOFFSET = float(Path('offset.txt').read_text())\n")
    for weight, offset, answers in ((1, 0, ["4.0", "10.0"]), (2, 0, ["5.0", "17.0"]), (2, 1, ["6.0", "26.0"])):
        (house / "weights.txt").write_text(f"0 {weight}")
        (house / "offset.txt").write_text(str(offset))
        assert played(house, program="data.py") == (answers, SAID[:2] * 2)
        assert played(house, program="data.py") == (answers, [])


SAME = """
import sys
import mine
from bot.kernel import kernel, specialise
def make(factor):
    @kernel
    def deep(value):
        return 0 if value < 1 else factor + deep(value - 1)
    return deep
for factor in sys.stdin.read().split():
    print(specialise(mine.first, "test", inlined=False, decide=make(int(factor)))(9))
"""


def test_machine_code_of_functions_that_two_processes_numbered_alike_keeps_apart(house):
    (house / "same.py").write_text(SAME)
    for factors, answers in (("1", ["10.0"]), ("2", ["19.0"]), ("1 2", ["10.0", "19.0"]), ("2 1", ["19.0", "10.0"])):
        out, said = played(house, program="same.py", given=factors)
        assert out == answers
        assert bool(said) == (len(answers) == 1)


TYPED = """
import mine
from bot.kernel import kernel, specialise
exec("def typed(value):\\n    return value\\n")
print(specialise(mine.first, "test", decide=kernel(typed))(2.0))
"""


def test_a_kernel_without_a_file_is_compiled_each_time_and_says_so(house):
    """As in a notebook: nobody could tell from a file when it changes."""
    (house / "typed.py").write_text(TYPED)
    for _ in range(2):
        assert played(house, program="typed.py") == (["3.0"], SAID[:2])
    assert kept(house) == []


LOGGED = """
import sys
sys.path.append(REPOSITORY)
from services.logs import configure, quieten
configure([]) if WHICH else quieten()
"""


def test_where_there_is_a_log_compilations_stand_in_it_and_where_it_is_quiet_they_are_told_still(house):
    head = LOGGED.replace("REPOSITORY", repr(str(ROOT)))
    (house / "logged.py").write_text(head.replace("WHICH", "True") + PROGRAM)
    _, said = played(house, program="logged.py")
    events = [json.loads(line) for line in said]
    names = [(one["event"], one["code"]) for one in events]
    first, second = "mine.first (test)", "mine.second (test)"
    assert names == [("compiling", first), ("compiled", first), ("compiling", second), ("compiled", second)]
    shutil.rmtree(house.parent / "kernels")
    (house / "logged.py").write_text(head.replace("WHICH", "False") + PROGRAM)
    assert played(house, program="logged.py")[1] == SAID
