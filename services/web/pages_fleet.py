"""The page of bots: how each is supervised, and a form that creates one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bot.errors import Misconfigured
from services.web.api_fleet import fleet_now
from services.web.context import Console
from services.web.rendering import page
from services.web.words import PageWords

router = APIRouter(include_in_schema=False)
ENVIRONMENTS = ("venue", "demo", "testnet", "live")
SIMULATED = "http://127.0.0.1:8700"  # where `traderagent venue` is


@router.get("/bots")
async def bots(request: Request) -> Response:
    """Every bot of the fleet; and a new one."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        try:
            found = await fleet_now(console)
        except Misconfigured as error:
            return {"rows": [], "runs": False, "refused": str(error)}
        return {"rows": found.items, "runs": found.runs, "refused": ""}

    return await page(request, "bots", [], lay, environments=ENVIRONMENTS, simulated=SIMULATED)
