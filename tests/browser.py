"""A Chromium without a window, told what to do over its debugging protocol: for tests of pages as they run."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
IN_CI = os.environ.get("CI") == "true"  # where a page that nobody tried must not pass for tried
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not IN_CI, reason="no Chromium: none of chromium, google-chrome is on PATH"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
)
KEYS = {"ArrowRight": 39, "ArrowUp": 38, "ArrowDown": 40, "Escape": 27, "n": 78, "0": 48}


class Page:
    """One page in a browser: evaluates, moves the mouse, presses keys."""

    def __init__(self, socket):
        self.socket, self.numbers = socket, itertools.count(1)
        self.troubles = []

    async def ask(self, method, **parameters):
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            told = await asyncio.wait_for(self.socket.receive_json(), 30)
            if told.get("method") in ("Runtime.exceptionThrown", "Network.requestWillBeSent", "Log.entryAdded"):
                self.troubles.append(told["params"])
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    async def run(self, script):
        """Value of an expression, awaited where it is a promise."""
        told = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def open(self, path):
        """Open a page, and wait until it says that it is ready; how long that took, in seconds."""
        await self.ask("Page.navigate", url="about:blank")
        await self.ask("Page.navigate", url=f"file://{path}")
        ready = """new Promise((done) => { const look = () => document.documentElement.dataset.ready
            ? done(performance.now() / 1000) : setTimeout(look, 5); look(); })"""
        for _ in range(200):  # until the navigation has replaced what was shown before
            if await self.run("location.href") == f"file://{path}":
                return await self.run(ready)
            await asyncio.sleep(0.02)
        raise AssertionError(f"{path} does not open")

    async def visit(self, url):
        """Open a page of a server, and wait until it is there."""
        await self.ask("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def until(self, expression, seconds=20.0):
        """Wait until an expression is true; what it came to."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(AssertionError):  # the page is being replaced
                if found := await self.run(expression):
                    return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{expression} has not come true: {await self.run('document.body.innerText')}")

    async def push(self, selector):
        """Click an element."""
        await self.until(f"document.querySelector({selector!r}) !== null")
        await self.run(f"document.querySelector({selector!r}).click()")

    async def picture(self, path):
        """Keep what is seen as a PNG."""
        path.write_bytes(base64.b64decode((await self.ask("Page.captureScreenshot", format="png"))["data"]))

    def faults(self, address):
        """What was wrong: errors of scripts and of the console, and requests that went anywhere else."""
        found = []
        for one in self.troubles:
            if "request" in one:
                url = one["request"]["url"]
                if not url.startswith((address, "data:", "about:")):
                    found.append(url)
            elif "entry" not in one or one["entry"]["level"] == "error":
                found.append(str(one)[:400])
        return found

    async def mouse(self, kind, x, y, **more):
        await self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def click(self, x, y):
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.mouse(kind, x, y, button="none" if kind == "mouseMoved" else "left", clickCount=1)

    async def press(self, key):
        for kind in ("keyDown", "keyUp"):
            await self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=KEYS[key])
        await asyncio.sleep(0.1)

    async def size(self, width, height, *, dark=False):
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.ask("Emulation.setEmulatedMedia", features=scheme)


async def port_of(file):
    """The port that a browser has written down, once it has."""
    for _ in range(400):
        with contextlib.suppress(FileNotFoundError, ValueError):
            port, _ = file.read_text().split()
            return port
        await asyncio.sleep(0.025)
    raise AssertionError("Chromium has not started within ten seconds")


@contextlib.asynccontextmanager
async def browser():
    """Start a browser, and end it: a Page that has seen nothing yet."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{await port_of(Path(folder, 'DevToolsActivePort'))}/json"
            async with aiohttp.ClientSession() as session:
                async with session.get(address) as answer:
                    (target, *_) = [one for one in json.loads(await answer.text()) if one["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    for domain in ("Page", "Runtime", "Network", "Log"):
                        await page.ask(f"{domain}.enable")
                    yield page
        finally:
            process.terminate()
            await process.wait()
