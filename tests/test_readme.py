"""README and docs show only what works: commands, configs, examples, pictures, and files that exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex

import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from backtesting.candles import to_frame
from bot.sources import ROOT
from coordinator.config import load_config
from services.command_line.main import app
from services.market_data.synth import generate

DOCS = ROOT / "docs"
README = ROOT / "README.md"
MARKDOWN = [README, *sorted(DOCS.rglob("*.md"))]


def named(page):
    return page.relative_to(ROOT).as_posix()


def text_of(page):
    return page.read_text(encoding="utf-8")


def lines_shown(page):
    """Commands that a page shows to be typed: in its blocks of a shell, without comments and what runs beside them."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", text_of(page), re.DOTALL)
    for line in "".join(blocks).splitlines():
        for part in re.split(r"&&|\|", line):
            found = re.search(r"(?:^|/|\s)traderagent (.+)", re.sub(r"\s#.*", "", part))
            if found:
                yield found[1].strip()


SHOWN = [(page, line) for page in MARKDOWN for line in lines_shown(page)]


def parse(line):
    """Let the program read a command to its end, arguments, options and the types of their values, and not run it."""
    command, context, words = typer.main.get_command(app), None, shlex.split(line)
    while hasattr(command, "resolve_command"):
        context = command.context_class(command, parent=context)
        name, command, words = command.resolve_command(context, words)
    command.make_context(name, words, parent=context).close()


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=[f"{named(page)}: {line}"[:90] for page, line in SHOWN])
def test_the_program_takes_every_command_that_a_page_shows(page, line):
    del page
    parse(line)


def test_a_command_that_is_none_is_found():
    for line in (
        "bactest --strategy grid",
        "backtest --pairr BTCUSDT",
        "data synth --pairs BTCUSDT --days many",
        "suggest grid",
    ):
        with pytest.raises(Exception, match=r"[Nn]o such|is not a valid|Missing"):
            parse(line)
    assert len(SHOWN) > 80


# What needs a bot, a network, a search or a compilation of its own: tests/runtime, services and search run these.
ELSEWHERE = re.compile(
    r"(demo|ctl|init|doctor|run|logs|stats|replay|backup|restore|install-service|chaos|venue|parity|import-bot|sweep|web)\b"
    r"|explain --bot|data download|data instruments|compare|check|.*dip_buyer.py"
)


def write_candles(path):
    to_frame(generate(["BTCUSDT"], 30, 7)["BTCUSDT"]).write_csv(path)


def test_commands_of_readme_run_as_they_stand_one_after_the_other(store_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_candles(tmp_path / "BTCUSDT.csv")
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    lines = [line for line in lines_shown(README) if not ELSEWHERE.match(line)]
    assert len(lines) == 12
    for line in lines:
        runs = sorted((store_dir / "runs").glob("auto-*"))
        made = runner.invoke(app, shlex.split(line.replace("RUN", str(runs[0]) if runs else "RUN")))
        assert made.exit_code == 0, (line, made.output[-2000:])


@pytest.mark.parametrize("page", MARKDOWN, ids=named)
def test_every_block_of_yaml_that_names_a_strategy_and_a_pair_is_a_config(page):
    for block in re.findall(r"```yaml\n(.*?)```", text_of(page), re.DOTALL):
        values = yaml.safe_load(block)
        if isinstance(values, dict) and {"strategy", "pair"} <= set(values) and "bot" not in values and page in WHOLE:
            load_config(values)


WHOLE = {README, DOCS / "backtest.md"}


def test_the_yaml_of_readme_is_the_grid_that_it_says():
    shown = re.search(r"```yaml\n(.*?)```", text_of(README), re.DOTALL)
    assert load_config(yaml.safe_load(shown[1])).parameters.levels == 15


def test_the_example_strategy_is_the_tested_one():
    shown = re.search(r"```python\n(\"\"\"EMA cross.*?)```", text_of(DOCS / "own_strategy.md"), re.DOTALL)
    assert shown[1] == (ROOT / "tests" / "examples" / "ema_cross.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [README, DOCS / "backtest.md"], ids=named)
def test_python_that_is_shown_runs_on_candles_of_that_name(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_candles(tmp_path / "BTCUSDT.csv")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("{strategy: grid, pair: BTCUSDT}")
    blocks = re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL)
    assert blocks
    for block in blocks:
        names = {}
        exec(compile(ast.parse(block), named(page), "exec"), names)
        assert names["result"].pairs == ("BTCUSDT",)


def test_readme_is_short_and_its_pictures_are_small():
    assert len(text_of(README).splitlines()) <= 250
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text_of(README)):
        assert (ROOT / name).stat().st_size < 300_000, name
        with Image.open(ROOT / name) as picture:
            assert picture.width <= 1200


def test_the_picture_of_readme_is_of_the_run_that_its_commands_make(monkeypatch):
    """Its script plays generated candles, of the days and the seed that the page types."""
    place = importlib.util.spec_from_file_location("picture_of_report", DOCS / "pictures" / "report.py")
    script = importlib.util.module_from_spec(place)
    place.loader.exec_module(script)
    page = script.page()
    assert "synth linear" in page
    assert "Generated candles: good for trying out, not for believing." in page
    assert "2024-01-01T00:00:00Z to 2024-03-01T00:00:00Z" in page
    assert str(ROOT) not in page


def test_every_page_is_linked_from_readme_or_from_a_page_that_is():
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_of(page)):
            target = (page.parent / link).resolve()
            if "://" not in link and target.is_file():
                waiting.append(target)
    assert [named(page) for page in MARKDOWN if page not in reached] == []


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them, and those written out."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    return made | set(re.findall(r'<a id="([^"]+)">', text_of(page)))


@pytest.mark.parametrize("page", MARKDOWN, ids=named)
def test_every_link_into_a_page_finds_its_heading(page):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", text_of(page)):
        target = (page.parent / link) if link else page
        if "://" not in link and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize("page", MARKDOWN, ids=named)
def test_every_file_that_a_page_names_or_links_exists(page):
    text = text_of(page)
    files = re.findall(r"`((?:bot|filters|strategies|coordinator|backtesting|services|tests|docs)/[\w./-]*)`", text)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) if "://" not in link]
    missing = [name for name in files if not (ROOT / name).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
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
