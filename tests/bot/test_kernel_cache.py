"""Which directories of machine code are kept: those in use by a live process, and those used last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot import kernel_cache
from bot.kernel import specialise, template
from bot.kernel_cache import USERS, use
from bot.sources import ROOT

KEPT_CACHES = 6  # for these tests
USER = """
import sys
from pathlib import Path
from bot import kernel_cache
kernel_cache.KEPT_CACHES = 6
print(kernel_cache.use(Path(sys.argv[1])), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def parent(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_cache, "KEPT_CACHES", KEPT_CACHES)
    monkeypatch.setattr(kernel_cache, "_held", {})
    monkeypatch.setattr(kernel_cache, "_warned", set())
    yield tmp_path / "kernels"
    for descriptor in kernel_cache._held.values():
        os.close(descriptor)


def named(parent, number):
    return parent / f"{number:016x}"


def end_of_life():
    """As the end of a process does it: every lock goes, the directories stay."""
    for descriptor in kernel_cache._held.values():
        os.close(descriptor)
    kernel_cache._held.clear()


def fill(parent, numbers):
    """Make a directory for each number, used at that many seconds after the epoch, by processes that have ended."""
    for number in numbers:
        assert use(named(parent, number))
        end_of_life()
        os.utime(named(parent, number), (number, number))


def left(parent):
    return {int(path.name, 16) for path in parent.iterdir() if path.is_dir() and len(path.name) == 16}


@contextmanager
def process_using(directory):
    """A process of its own that uses `directory` until the block ends; yields it."""
    command = [sys.executable, "-c", USER, str(directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "True\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_of_directories_nobody_uses_the_least_recently_used_go_first(parent):
    fill(parent, range(1, KEPT_CACHES + 1))
    assert use(named(parent, 1))  # made first, and used now
    end_of_life()
    assert use(named(parent, 100))
    assert left(parent) == {1, *range(3, KEPT_CACHES + 1), 100}


def test_a_directory_in_use_by_a_live_process_is_never_removed_however_many_are_made(parent):
    """Six edits of a strategy elsewhere must not take a running bot's code away."""
    with process_using(named(parent, 1)):
        for number in range(100, 100 + 2 * KEPT_CACHES):
            os.utime(named(parent, 1), (1, 1))
            assert use(named(parent, number))
            end_of_life()
            assert 1 in left(parent)


def test_a_bot_that_was_killed_finds_its_code_again_and_a_dead_user_protects_nothing(parent):
    with process_using(named(parent, 1)) as process:
        fill(parent, range(2, 2 + KEPT_CACHES))
        os.utime(named(parent, 1), (1, 1))
        use(named(parent, 100))  # now the process is found alive
        end_of_life()
        process.kill()
        process.wait()
        use(named(parent, 101))
        end_of_life()
        assert 1 in left(parent), "it was in use when the last room was made"
        os.utime(named(parent, 1), (1, 1))
        use(named(parent, 102))
        assert 1 not in left(parent)


def test_what_is_not_ours_beside_the_directories_stays(parent):
    (parent / "precious").mkdir(parents=True)
    os.utime(parent / "precious", (0, 0))
    fill(parent, range(1, 3 * KEPT_CACHES))
    assert (parent / "precious").exists()


def test_a_directory_that_somebody_deletes_is_made_and_held_again(parent):
    assert use(named(parent, 1))
    shutil.rmtree(named(parent, 1))
    assert use(named(parent, 1))
    assert (named(parent, 1) / USERS).exists()
    assert kernel_cache._holds(named(parent, 1))


def test_many_processes_making_room_at_once_each_keep_their_own(parent):
    fill(parent, range(1, KEPT_CACHES + 1))
    directories = [named(parent, number) for number in range(100, 108)]
    command = [sys.executable, "-c", USER]
    processes = [
        subprocess.Popen([*command, str(one)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for one in directories
    ]
    try:
        assert [one.stdout.readline() for one in processes] == ["True\n"] * len(processes)
        assert left(parent) == set(range(100, 108)), "more than are kept are in use, so nothing else is left"
        assert all((one / USERS).exists() for one in directories)
    finally:
        for one in processes:
            one.kill()
            one.communicate()


SCALE = 3.0


@template
def scaled(value):
    return value * SCALE


def test_a_cache_that_cannot_be_written_compiles_in_memory_and_warns_once(parent, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRADERAGENT_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    with pytest.warns(RuntimeWarning, match=r"cannot be kept .* TRADERAGENT_CACHE_DIR") as caught:
        answers = [specialise(scaled, name)(2.0) for name in ("unwritable_one", "unwritable_two")]
    assert answers == [6.0, 6.0]
    assert len(caught) == 1
    beside = Path(__file__).parent / "__pycache__"
    assert not list(beside.glob("*unwritable*")), "nor is anything written beside the sources instead"


def test_using_a_directory_that_can_be_written_warns_of_nothing(parent):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert use(named(parent, 1))


def test_what_was_shipped_is_copied_once_and_whole(parent, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    (named(shipped, 1)).mkdir(parents=True)
    (named(shipped, 1) / "step.nbc").write_text("machine code")
    (named(shipped, 1) / "step.nbc").chmod(0o444)
    named(shipped, 1).chmod(0o555)
    monkeypatch.setenv(kernel_cache.SHIPPED, str(shipped))
    part = parent / f".{named(parent, 1).name}.part"
    part.mkdir(parents=True)  # of a process that was killed as it copied
    (part / "half").write_text("")
    assert use(named(parent, 1))
    assert sorted(one.name for one in named(parent, 1).iterdir()) == [USERS, "step.nbc"]
    (named(parent, 1) / "step.nbc").write_text("made here since")
    end_of_life()
    assert use(named(parent, 1))
    assert use(named(parent, 2)), "what was not shipped is made as ever"
    assert (named(parent, 1) / "step.nbc").read_text() == "made here since"
    assert not part.exists()


def test_machine_code_for_another_processor_has_a_directory_of_its_own(monkeypatch):
    from bot import kernel

    functions = [test_machine_code_for_another_processor_has_a_directory_of_its_own]
    here = kernel.cache_directory(functions)
    monkeypatch.setattr(kernel.numba.config, "CPU_NAME", "x86-64-v3")
    monkeypatch.setattr(kernel.numba.config, "CPU_FEATURES", "")
    told = kernel.cache_directory(functions)
    monkeypatch.setattr(kernel.llvm, "get_host_cpu_name", lambda: "another machine")
    assert here != told
    assert kernel.cache_directory(functions) == told, "an image has the same on every machine"


def test_a_process_whose_sources_have_changed_since_it_began_keeps_no_machine_code(monkeypatch):
    """It runs the code of before: kept under the name of the new one, it would be run for it after an upgrade."""
    from bot import kernel, sources
    from bot.ledger import book_fill

    functions = [getattr(book_fill, "py_func", book_fill)]
    assert kernel.cache_directory(functions) is not None
    monkeypatch.setitem(sources.LOADED, sources.ROOT / "bot" / "ledger.py", 1)
    assert kernel.cache_directory(functions) is None
