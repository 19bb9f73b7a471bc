"""The README shows the example that the tests run; it, the essay and the decisions name only what exists."""

from __future__ import annotations

import re

import pytest
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
        path = words[: 1 + (words[0] in {"data", "runs", "suggest", "new"}) + (words[1:2] == ["funding"])]
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


PAGES = [ROOT / "README.md", ROOT / "docs" / "design.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_or_links_exists(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:bot|filters|strategies|coordinator|backtesting|services|tests|docs)/[\w./-]*)`", text)
    linked = [
        client_order_id for client_order_id in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in client_order_id
    ]
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [client_order_id for client_order_id in linked if not (page.parent / client_order_id).exists()]
    assert missing == []


def test_every_decision_is_in_the_index_and_has_its_four_parts():
    folder = ROOT / "docs" / "decisions"
    index = re.findall(r"\]\((\d{3}-[a-z-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert index == sorted(path.name for path in folder.glob("[0-9]*.md"))
    for name in index:
        text = (folder / name).read_text(encoding="utf-8")
        parts = ["# " + name[:3], "**Status:**", "## Context", "## Decision", "## Consequences"]
        places = [text.find(part) for part in parts]
        assert places == sorted(places), name
        assert min(places) >= 0, name
        assert len(text.split()) < 350, name
