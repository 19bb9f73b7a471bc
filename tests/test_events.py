"""docs/events.md lists every event that a bot tells, and every kind of decision.

`TRADERAGENT_WRITE_EVENTS=1 uv run pytest tests/test_events.py` writes it anew.
"""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import FrozenInstanceError, fields

import pytest

from bot import events
from bot.events import EVENTS, BotEvent, Heartbeat, kind_of
from coordinator.decisions import FIELDS
from coordinator.vocabulary import DecisionKind
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "events.md"
HEAD = """# What a bot tells

Every bot writes two Redis Streams, `traderagent.events.v1.NAME` and `traderagent.metrics.v1.NAME` (NAME is the bot's):
who may read one bot reads its streams and no other's. An entry has `kind`, `version` and `data`, a JSON object
with the fields below; every event has `pair` (empty: the account) and `at` (the market's time, ms). Telling is best
effort: trading never waits for it, and what Redis does not take is dropped. The truth is the database.
"""
FIELD = re.compile(r"^    (\w+): ([^=#]+?)(?: = .+?)?(?:  # (.*))?$")


def described(event):
    """Fields of an event's own, with what the source says of them."""
    found = (FIELD.match(line) for line in inspect.getsource(event).splitlines())
    return [one.groups(default="") for one in found if one and one[1] not in ("STREAM", "VERSION")]


def page():
    parts = [HEAD]
    for event in EVENTS:
        parts.append(f"## `{kind_of(event)}` (stream `{event.STREAM}`, version {event.VERSION})\n")
        parts.append(inspect.cleandoc(event.__doc__).split("\n\n")[0] + "\n")
        rows = [f"| `{name}` | {kind} | {said} |" for name, kind, said in described(event)]
        parts.append("\n".join(["| field | type | |", "| --- | --- | --- |", *rows]) + "\n")
    parts.append("## Kinds of decision\n")
    parts.append(
        "The `fields` of a `decision`, by its kind; they are the columns of `decisions.fields` in Postgres too.\n"
    )
    rows = [
        f"| `{kind.name.lower()}` | {', '.join(f'`{name}`' for _, name, _ in FIELDS[kind]) or 'none'} |"
        for kind in DecisionKind
    ]
    parts.append("\n".join(["| kind | fields |", "| --- | --- |", *rows]))
    return "\n".join(parts) + "\n"


def test_the_page_lists_what_is_told():
    if os.environ.get("TRADERAGENT_WRITE_EVENTS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_event_stands_in_the_list():
    told = {one for one in vars(events).values() if inspect.isclass(one) and issubclass(one, BotEvent)}
    assert told - {BotEvent} == set(EVENTS)
    assert len({kind_of(one) for one in EVENTS}) == len(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_every_field_is_described(event):
    own = [one.name for one in fields(event)][len(fields(BotEvent)) :]
    assert [name for name, _, _ in described(event)] == own


def test_an_event_does_not_change():
    event = Heartbeat("", 0, 1.0, {"public": True, "private": True})
    with pytest.raises(FrozenInstanceError):
        event.at = 1
