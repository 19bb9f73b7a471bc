"""Two Ray nodes in separate network namespaces of this machine: a bot and a sweep survive the loss of one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from backtesting.candles import to_frame
from bot.sources import ROOT
from services.storage.embedded import EmbeddedPostgres
from tests.runtime.two_nodes import lose
from tests.search.test_sweep import CANDLES, SPACE

HEAD, NODE = "10.77.0.1", "10.77.0.2"
PORT = 6391
SECONDS = 900


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def may_make_namespaces():
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"ta-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        ip("netns", "del", name)
    return made


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not may_make_namespaces(), reason="network namespaces need root on Linux, and `ip`"),
]


@pytest.fixture
def spaces():
    """Names of two namespaces with a wire between them."""
    head, node = (f"ta-{part}-{os.getpid()}" for part in ("head", "node"))
    made = []
    try:
        for name in (head, node):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "wire0", "netns", head, "type", "veth", "peer", "name", "wire1", "netns", node)
        for name, wire, address in ((head, "wire0", HEAD), (node, "wire1", NODE)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", wire)
            ip("-n", name, "link", "set", wire, "up")
        yield head, node
    finally:
        for name in made:
            lose(name)
            ip("netns", "del", name)


@pytest.fixture
def cluster(spaces, request):
    """A head and a node, who ask each other for a token; what runs a program in the head's namespace.

    Its parameter says whether what they play is interpreted: a bot decides the same, and waits for no compiler.
    """
    head, node = spaces
    folder = tempfile.mkdtemp(prefix="ta", dir="/tmp")  # names of its sockets have to be short
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "NUMBA_DISABLE_JIT": str(int(request.param)),
    }
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--disable-usage-stats", "--num-cpus=1"]
    ray += ["--object-store-memory=200000000"]

    def inside(space, *command, **options):
        return subprocess.Popen(
            ["ip", "netns", "exec", space, *command], cwd=ROOT, env=environment, text=True, **options
        )

    def node_joins():
        began = inside(node, *ray, f"--address={HEAD}:{PORT}", f"--node-ip-address={NODE}")
        assert began.wait(120) == 0

    began = inside(
        head,
        *(*ray, "--head", f"--port={PORT}", f"--node-ip-address={HEAD}", f"--temp-dir={folder}"),
        "--include-dashboard=false",
    )
    assert began.wait(120) == 0
    node_joins()
    yield inside, node
    for space in (node, head):
        lose(space)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("cluster", [True], indirect=True, ids=["interpreted"])
def test_a_bot_loses_a_node_and_trades_on_as_if_nothing_had_been(spaces, cluster, tmp_path):
    inside, node = cluster
    postgres = EmbeddedPostgres(tmp_path / "p")
    dsn = asyncio.run(postgres.start())  # by a socket, which both namespaces reach
    try:
        driver = inside(
            spaces[0],
            *(sys.executable, "-m", "tests.runtime.two_nodes", dsn, HEAD, f"{HEAD}:{PORT}", node),
            stdout=subprocess.PIPE,
        )
        said, _ = driver.communicate(timeout=SECONDS)
        assert driver.returncode == 0, said[-3000:]
    finally:
        asyncio.run(postgres.stop())
    found = json.loads(said.splitlines()[-1])
    assert found["actors"] >= 1, "nothing of the bot ran on the node that was lost: shows nothing"
    assert found["woken"] >= 1
    assert len(found["alone"][0]) >= 3
    assert found["found"] == found["alone"]


def plays(namespace):
    """Whether an actor in the namespace plays variants of a sweep."""
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    for one in found.stdout.split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"Player.play" in Path(f"/proc/{one}/cmdline").read_bytes():
                return True
    return False


@pytest.mark.parametrize("cluster", [False], indirect=True, ids=["compiled"])
def test_a_sweep_loses_a_node_and_has_the_same_rows(spaces, cluster, tmp_path):
    inside, node = cluster
    to_frame(CANDLES).write_parquet(tmp_path / "candles.parquet")
    ranges = {"levels": (5, 60, 1), "profit_per_grid": (0.004, 0.0135, 0.0005), "range_factor": (2, 6.5, 0.5)}
    grid = {name: dict(zip(("from", "to", "step"), one, strict=True)) for name, one in ranges.items()}
    space = {**SPACE, "grid": {**grid, "warmup_bars": 30}}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))

    def sweep(out, *more, **options):
        begin = "from services.command_line.main import main; main()"
        words = ("env", f"TRADERAGENT_DATA_DIR={tmp_path / out}", sys.executable, "-c", begin)
        files = (str(tmp_path / "space.yaml"), "--candles", str(tmp_path / "candles.parquet"))
        return inside(spaces[0], *words, "sweep", *files, "--out", str(tmp_path / out / "rows"), *more, **options)

    assert sweep("alone", "--workers", "2").wait(SECONDS) == 0
    running = sweep("nodes", "--ray", f"{HEAD}:{PORT}", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not plays(node):
        assert running.poll() is None, "the sweep was done before it played on the node: shows nothing"
        time.sleep(0.05)
    lose(node)
    assert running.poll() is None, "the sweep was done before the node was lost: shows nothing"
    said, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, said[-3000:]
    rows = [pl.read_csv(tmp_path / one / "rows" / "rows.csv") for one in ("alone", "nodes")]
    assert rows[0].equals(rows[1])
