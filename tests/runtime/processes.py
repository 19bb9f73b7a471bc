"""The program as a user starts it: processes of a venue and of bots, on a data directory of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
import yaml

from tests.conftest import ROOT

COMMAND = [sys.executable, "-c", "from services.command_line.main import main; main()"]


class Processes:
    """A venue and bots, each as a user starts them."""

    def __init__(self, folder):
        self.folder, self.started, self.root, self.command = folder, [], ROOT, COMMAND
        given = {"DATA_DIR": str(folder), "KEY": "venue-key", "SECRET": "venue-secret"}
        self.environment = {**os.environ, **{f"TRADERAGENT_{key}": value for key, value in given.items()}}

    def start(self, *arguments):
        process = subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def venue(self, pairs, capital, days=12):
        """Open a venue in lock-step; returns its address."""
        process = self.start(
            *("venue", "--pairs", ",".join(pairs), "--speed", "0", "--days", str(days), "--history", "9"),
            *("--port", "0", "--capital", str(capital)),
        )
        return heard(process, "venue at http").split()[2]

    def config(self, name, address, pairs, capital, **sections):
        """Write a bot's config of the preset `classic`, which trades often; returns its path."""
        path = self.folder / f"{name}.yaml"
        bot = {"name": name, "environment": "venue", "address": address, "requests_per_second": 100}
        if sections.setdefault("strategy", "auto") == "auto":
            sections["auto"] = {"preset": "classic", **sections.get("auto", {})}
        whole = {"pairs": list(pairs), "capital": capital, **sections, "bot": bot}
        path.write_text(yaml.safe_dump(whole))
        return str(path)

    def run(self, config):
        """Start a bot, and wait until it runs."""
        process = self.start("run", config)
        heard(process, '"running"')
        return process

    def finished(self, *arguments):
        return subprocess.run(
            [*self.command, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def end(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGINT)
            process.wait(30)
            process.stdout.close()


def heard(process, *words):
    """Read what a process says until one line has all of the words; returns that line."""
    said = []
    for line in process.stdout:
        said.append(line)
        if all(word in line for word in words):
            threading.Thread(target=process.stdout.read, daemon=True).start()  # or it would wait for a reader
            return line
    pytest.fail("".join(said[-20:]))


def minute(address, pause=0.0):
    """Let a market minute pass, thing by thing, with so many seconds between them."""
    while _advance(address)["inside"]:
        time.sleep(pause)


def _advance(address):
    with urllib.request.urlopen(urllib.request.Request(f"{address}/venue/advance", method="POST")) as answer:
        return json.load(answer)
