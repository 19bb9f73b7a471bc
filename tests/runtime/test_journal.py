"""The journal of a bot that traded on the simulated exchange: its trades are a backtest's, with their plan."""

from __future__ import annotations

import asyncio

import pytest

from backtesting.portfolio_run import simulate_portfolio
from services.storage.history import History
from services.storage.journal import JournalStore
from services.storage.read_pool import ReadPool
from tests.runtime.house import DAY, HISTORY, Bot, exchange_for, venue
from tests.runtime.test_drift import SYMBOL, TAKERS, load_portfolio

MINUTES = 600


async def journal_of(dsn, name):
    pool = ReadPool(dsn)
    store = JournalStore(pool)
    try:
        await store.sync_live(History(pool), [name])
        return (await store.records(search=name, limit=500))[::-1]
    finally:
        await pool.close()


def test_live_records_carry_the_timeframe_and_the_r_of_the_stop_that_was_planned(dsn, name):
    """Entry, exit and R are those of a backtest of the same config on the same candles."""
    chosen = load_portfolio({"pairs": [SYMBOL], **TAKERS, "execution": {"forced_exit_bps": 0.0}})
    exchange = exchange_for(chosen)

    async def main():
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            await bot.start()
            for _ in range(MINUTES):
                await bot.steps.minute()
            await bot.stop()
        return await journal_of(dsn, name)

    records = asyncio.run(main())
    candles = exchange.books[SYMBOL].candles
    start = int(candles.ts[0]) + HISTORY * DAY
    whole = chosen.changed(start=start, end=start + (MINUTES + 60) * 60_000)
    played = simulate_portfolio(whole, {SYMBOL: candles}, fetched={SYMBOL: exchange.books[SYMBOL].instrument})
    trades = {row["entry_time"]: row for row in played.of_pair(SYMBOL).trades.iter_rows(named=True)}
    assert len(records) >= 2
    assert {one["timeframe"] for one in records} == {"5m"}
    for one in records:
        row = trades[one["entry"] // 60_000 * 60_000]
        assert one["entry_price"] == pytest.approx(row["entry_price"], rel=1e-9)
        assert one["r"] == pytest.approx((row["pnl"] - row["funding"]) / (row["pnl"] / row["r_multiple"]), rel=1e-6)
        assert one["r"] * one["pnl"] > 0
