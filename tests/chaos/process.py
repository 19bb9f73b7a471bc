"""A bot in a process of its own, to be killed: python -m tests.chaos.process ADDRESS DSN NAME."""

from __future__ import annotations

import asyncio
import sys

from services.logs import quieten
from services.postgres.store import PostgresStore
from services.runtime.backing import SilentBus
from services.runtime.local import LocalRuntime
from tests.runtime.house import config, gateway_to


async def main(address, dsn, name):
    quieten()
    store = await PostgresStore.open(dsn, name)
    runtime = LocalRuntime(name, config(), gateway_to(address), store, SilentBus())
    await runtime.start()
    print("running", flush=True)  # noqa: T201, the test waits for it
    while True:
        await asyncio.sleep(2.0)
        await runtime.poll()
        runtime.keeper.check()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
