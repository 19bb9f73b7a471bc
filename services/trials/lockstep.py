"""A market that waits for the bot: the venue goes on only when everything about its last news is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from services.runtime.local import LocalRuntime


class LockStep:
    """Drives a venue and the bot on it, one thing at a time."""

    def __init__(self, address: str, runtime: LocalRuntime) -> None:
        self.address, self.runtime = address, runtime
        self.session = aiohttp.ClientSession()
        self.before: dict[str, int] = {}
        self.now = 0

    async def begin(self) -> None:
        """Note how much the bot's streams have told before."""
        await self.runtime.settled()
        async with self.session.get(f"{self.address}/venue/status") as answer:
            sent = (await answer.json())["sent"]
        heard = await self.runtime.heard()
        self.before = {name: heard[name] - sent[name] for name in sent}

    async def minute(self) -> bool:
        """Play a minute; False when it was the last."""
        inside = True
        while inside:
            async with self.session.post(f"{self.address}/venue/advance") as answer:
                told = await answer.json()
            await self._heard(told["public"], told["private"])
            inside = told["inside"]
        self.now = told["now"]
        return not told["finished"]

    async def _heard(self, public: int, private: int) -> None:
        """Wait until the bot has heard all of it and has done what it asks for, and has heard of that too."""
        while True:
            wanted = {"public": self.before["public"] + public, "private": self.before["private"] + private}
            while any(count < wanted[name] for name, count in (await self.runtime.heard()).items()):
                self.runtime.supervisor.check()
                await asyncio.sleep(0)
            await self.runtime.settled()
            async with self.session.get(f"{self.address}/venue/status") as answer:
                sent = (await answer.json())["sent"]
            if sent["private"] <= private:
                return
            private = sent["private"]

    async def end(self) -> None:
        """Let go."""
        await self.session.close()
