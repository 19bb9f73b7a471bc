"""The README shows the example that the tests run, and names only commands that exist."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from bot.sources import ROOT
from services.command_line.main import app

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_strategy_is_the_tested_one():
    shown = re.search(r"```python\n(\"\"\"EMA cross.*?)```", README, re.DOTALL)
    assert shown is not None
    assert shown.group(1) == (ROOT / "tests" / "examples" / "ema_cross.py").read_text(encoding="utf-8")


def test_every_command_and_option_shown_exists():
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    for line in re.findall(r"uv run traderagent ([^\n#]+)", README):
        words = line.split()
        path = words[: 3 if words[:2] == ["data", "funding"] else 2 if words[0] == "data" else 1]
        usage = runner.invoke(app, [*path, "--help"])
        assert usage.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in usage.output, line


def test_the_yaml_shown_is_a_config():
    import yaml

    from coordinator.config import load_config

    shown = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert load_config(yaml.safe_load(shown.group(1))).parameters.levels == 15
