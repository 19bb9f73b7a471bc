"""The page of signals: the secret that signs a bot's, and what the bot did with the last that came."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bot.errors import Misconfigured
from bot.ports import Unreachable
from services.web.api_signals import listens, secret_made
from services.web.context import Console
from services.web.failures import Failure
from services.web.pages import Bot, chosen_bot
from services.web.rendering import page
from services.web.words import PageWords

router = APIRouter(include_in_schema=False)
ROWS = 100


@router.get("/signals")
async def signals(request: Request, bot: Bot = "") -> Response:
    """Make, replace and remove the secret of a bot's signals; the last ones with what it did."""
    seen = await chosen_bot(request, bot)

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        if not seen.bot:
            return {"rows": [], "made": False, "locked": "", "heeds": None}
        try:
            made, locked = await secret_made(console, seen.bot), ""
        except Failure as failure:
            made, locked = False, failure.problem.message
        try:
            heeds = await listens(console, seen.bot)
        except (Misconfigured, Unreachable):  # the page says already that the bot does not answer
            heeds = None
        rows = await console.sources.signals.newest(seen.bot, "", ROWS)
        return {"rows": rows, "made": made, "locked": locked, "heeds": heeds}

    return await page(request, "signals", [seen] if seen.bot else [], lay, seen=seen)
