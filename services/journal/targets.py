"""Those who are told of records: webhooks, and a database of Notion. One that fails says whether to try again.

A revision may be told again when nobody knows whether it arrived: a webhook then gets the same Idempotency-Key, and in
Notion the page of the record is looked up first, so that a record has one page and a revision is written once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp

from services.journal.settings import JournalSettings, JournalWebhook, NotionSettings
from services.webhooks import SECONDS, Later, asked_wait, post, signed

NOTION_VERSION = "2022-06-28"
LONGEST_TEXT = 2000  # of a text of Notion


class TargetRefused(Exception):
    """It will not be taken, however often it is sent."""


class JournalTarget(Protocol):
    """Somebody who is told of records."""

    name: str

    async def send(self, record: dict[str, Any]) -> None:
        """Tell a revision; raises Later where that is to be tried again, and TargetRefused where it is not."""
        ...


def targets_of(
    settings: JournalSettings, session: aiohttp.ClientSession, wall: Callable[[], float]
) -> dict[str, JournalTarget]:
    """Those who are told, by name; `wall`: seconds since 1970."""
    found: dict[str, JournalTarget] = {one.name: WebhookTarget(session, one, wall) for one in settings.webhooks}
    if settings.notion is not None:
        found["notion"] = NotionTarget(session, settings.notion)
    return found


def _judged(status: int, wait: Any) -> None:
    if status == 429 or status >= 500:
        raise Later(f"HTTP {status}", asked_wait(wait))
    if status >= 300:
        raise TargetRefused(f"HTTP {status}")


class WebhookTarget:
    """A webhook, signed as those of the watchdog are."""

    def __init__(self, session: aiohttp.ClientSession, webhook: JournalWebhook, wall: Callable[[], float]) -> None:
        self.session, self.webhook, self.wall, self.name = session, webhook, wall, webhook.name

    async def send(self, record: dict[str, Any]) -> None:
        """Post a revision."""
        said = {"version": 1, "source": "traderagent journal", **_told(record)}
        body = json.dumps(said).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{record['record']}:{record['revision']}",
            **signed(self.webhook.secret.get_secret_value(), self.wall(), body),
        }
        _judged(*await post(self.session, self.webhook.url.get_secret_value(), data=body, headers=headers))


def _told(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "entry": _iso(record["entry"]), "exit": _iso(record["exit"])}


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


class NotionTarget:
    """A database of Notion with a page for each record, found by its title."""

    name = "notion"

    def __init__(self, session: aiohttp.ClientSession, settings: NotionSettings) -> None:
        self.session, self.settings = session, settings

    async def send(self, record: dict[str, Any]) -> None:
        """Make the page of a record, or bring it up to a revision; one that is there already stays."""
        query = {"filter": {"property": "Record", "title": {"equals": record["record"]}}, "page_size": 1}
        found = await self._ask("POST", f"databases/{self.settings.database}/query", query)
        pages = found.get("results")
        if not isinstance(pages, list):
            raise Later("an answer that cannot be read")
        if not pages:
            parent = {"database_id": self.settings.database}
            await self._ask("POST", "pages", {"parent": parent, "properties": properties_of(record)})
        elif _revision(pages[0]) < record["revision"]:
            await self._ask("PATCH", f"pages/{pages[0].get('id')}", {"properties": properties_of(record)})

    async def _ask(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self.settings.token.get_secret_value()}",
            "Notion-Version": NOTION_VERSION,
        }
        url = f"{self.settings.address.get_secret_value().rstrip('/')}/v1/{path}"
        try:
            async with self.session.request(
                method, url, json=body, headers=headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=SECONDS),
            ) as answer:  # fmt: skip
                _judged(answer.status, answer.headers.get("Retry-After"))
                said = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Later(type(error).__name__) from None
        if not isinstance(said, dict):
            raise Later("an answer that cannot be read")
        return said


def _revision(page: Any) -> int:
    try:
        return int(page["properties"]["Revision"]["number"])
    except (KeyError, TypeError, ValueError):
        return 0


def properties_of(record: dict[str, Any]) -> dict[str, Any]:
    """A record as properties of a page; what it does not have is left out."""
    texts = {"Timeframe": record["timeframe"], "Notes": record["notes"], "Origin": record["origin"]}
    numbers = {"Entry price": "entry_price", "Exit price": "exit_price", "Quantity": "quantity", "PnL": "pnl", "R": "r"}
    choices = {
        "Symbol": record["symbol"],
        "Side": record["side"],
        "Reason": record["reason"],
        "Source": record["source"],
    }
    return {
        "Record": {"title": [{"text": {"content": record["record"]}}]},
        "Revision": {"number": record["revision"]},
        "Entry": {"date": {"start": _iso(record["entry"])}},
        "Exit": {"date": {"start": _iso(record["exit"])}},
        "Tags": {"multi_select": [{"name": tag.replace(",", " ")} for tag in record["tags"]]},
        **{name: {"rich_text": [{"text": {"content": text[:LONGEST_TEXT]}}]} for name, text in texts.items() if text},
        **{name: {"number": record[key]} for name, key in numbers.items() if record[key] is not None},
        **{name: {"select": {"name": one}} for name, one in choices.items() if one},
    }
