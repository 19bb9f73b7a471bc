"""Starts ClickHouse's engine behind its HTTP interface, for tests of what stores candles there."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from contextlib import contextmanager

import pytest

_databases = itertools.count()


@contextmanager
def clickhouse_at(folder, port=0):
    """A server over the files of a folder; yields its process and its address, of a database nobody has used."""
    for name in ("chdb", "clickhouse_connect"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; `uv run --group clickhouse pytest -m slow` brings it")
    command = (sys.executable, "-m", "tests.services.clickhouse_server", str(folder), str(port))
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        taken = int(process.stdout.readline())
        yield process, f"clickhouse://127.0.0.1:{taken}/candles_{next(_databases)}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
