"""Binance's two markets as a process of their own, at real speed: to measure what listens to them.

Takes the symbols as JSON, and prints the addresses by market id.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace

from services.market_data.markets import BY_ID
from services.simulated_binance.server import BinanceServer
from services.simulated_market.source import MarketSource
from tests.services.venue_market import MINUTE, market_of

PULSES = {1: 2.0, 2: 0.25}  # seconds between two tellings of a bar that forms, as Binance's documents have them


async def serve(server, pause):
    while True:
        now = int(time.time() * 1000)
        if now >= server.source.now + MINUTE:
            await server.advance()
        await server.pulse()
        await asyncio.sleep(pause)


async def main(symbols):
    begin = int(time.time() * 1000) // MINUTE * MINUTE
    servers = {}
    for number in PULSES:
        instruments, candles = market_of(number, symbols, 60)
        moved = {symbol: replace(one, ts=one.ts - one.ts[0] + begin) for symbol, one in candles.items()}
        servers[number] = BinanceServer(MarketSource(instruments, moved), BY_ID[number].market)
    print(json.dumps({number: f"http://127.0.0.1:{await one.start()}" for number, one in servers.items()}), flush=True)  # noqa: T201
    await asyncio.gather(*(serve(server, PULSES[number]) for number, server in servers.items()))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
