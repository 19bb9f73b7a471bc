# ruff: noqa: INP001, T201
"""Draw the picture of a report in the README: the page of the run that the README's commands make, in a browser.

uv run python docs/pictures/report.py [FILE.png]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from backtesting import simulate
from services.market_data.synth import generate

PICTURE = Path(__file__).resolve().parent.parent / "report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1180, 1180)


def page() -> str:
    """Page of a grid over generated candles: what `data synth` and `backtest --strategy grid` of the README make."""
    candles = generate(["BTCUSDT", "ETHUSDT"], 60, 7)["BTCUSDT"]
    return simulate(strategy="grid", pair="BTCUSDT", exchange="synth", candles=candles).report().html


def draw(picture: Path) -> Path:
    """Show the page in a browser without a window, and keep what it shows."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"None of {', '.join(BROWSERS)} is on PATH; install one of them.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(page(), encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
        shown = [f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={picture.resolve()}", file.as_uri()]
        subprocess.run([browser, *flags, *shown], check=True, capture_output=True)  # noqa: S603, of our own words
    return picture


if __name__ == "__main__":
    print(draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE))
