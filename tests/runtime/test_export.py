"""A bot's account as files for taxes and books: a real history with funding, outside transfers and missing rows."""

from __future__ import annotations

import csv
import io
from math import fsum

import asyncpg
import pytest

from services.account_statement import StatementFormat
from services.runtime.live import account_snapshot
from services.storage.account_entries import account_statement
from tests.runtime.house import DAY, HISTORY, exchange_for, with_bot


async def look(bot):
    """The regular look at the account, twice: what is seen twice is believed."""
    for _ in range(2):
        since = (await bot.runtime.status())["transfers_at"]
        bot.runtime.tell(await account_snapshot(bot.runtime.gateway, since))
        await bot.runtime.settled()


async def read(dsn, name):
    connection = await asyncpg.connect(dsn)
    try:
        return await account_statement(connection, name)
    finally:
        await connection.close()


async def change(dsn, sql, *values):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchrow(sql, *values)
    finally:
        await connection.close()


def total(text, form):
    """What the rows of a file come to, as its reader adds them up."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if form is StatementFormat.CSV:
        return fsum(float(row["amount"]) for row in rows)
    came, went = ("Received Amount", "Sent Amount") if form is StatementFormat.KOINLY else ("Buy Amount", "Sell Amount")
    return fsum(float(row[came] or 0) - float(row[went] or 0) for row in rows)


def test_rows_add_up_to_the_wallet_and_a_missing_one_is_told(dsn, name):
    async def play(bot, exchange):
        exchange.transfer(500.0)
        await look(bot)
        await bot.steps.minute()
        exchange.transfer(-120.5)
        await look(bot)
        exchange.capital -= 40.0  # no transfer, nothing that a pair has earned
        await look(bot)
        for _ in range(180):
            await bot.steps.minute()
        await look(bot)
        whole = await read(dsn, name)
        assert whole.differences == ()
        kinds = whole.between(None, None).sums()
        assert (kinds["opening"], kinds["transfer"], kinds["unexplained"]) == pytest.approx((10_000.0, 379.5, -40.0))
        assert kinds["funding"] != 0.0
        assert kinds["trade"] != 0.0
        assert kinds["fees"] < 0.0
        assert whole.wallet == pytest.approx(exchange.wallet, abs=0.01)  # as the exchange counts it
        assert fsum(one.amount for one in whole.entries) == pytest.approx(whole.wallet, abs=1e-6)
        for form in StatementFormat:
            assert total(whole.between(None, None).written(form), form) == pytest.approx(whole.wallet, abs=1e-6)
        half = whole.entries[len(whole.entries) // 2].at
        early, late = whole.between(None, half), whole.between(half, None)
        assert early.change + late.change == pytest.approx(whole.wallet, abs=1e-6)
        assert late.before == pytest.approx(early.change)
        await one_is_missing(dsn, name)

    with_bot(dsn, name, play, minutes=60, make=before_funding)


def before_funding(chosen):
    """An exchange that settles funding two hours after its beginning."""
    exchange = exchange_for(chosen)
    exchange.begin(int(exchange.clock[0]) + HISTORY * DAY + 6 * 3_600_000)
    return exchange


async def one_is_missing(dsn, name):
    """Each kind of row is missed where it is missing."""
    gone = "DELETE FROM {} WHERE bot = $1 AND {} RETURNING *"
    one = await change(
        dsn,
        gone.format("fills", "execution = (SELECT execution FROM fills WHERE bot = $1 AND cause = 'order' LIMIT 1)"),
        name,
    )
    told = (await read(dsn, name)).differences
    assert [each.partition(":")[0] for each in told] == [one["symbol"]] * 2
    assert f"{(one['realised'] or 0.0) - one['fee']:+,.8f} is in no row" in told[0]
    assert "the position changed by" in told[1]
    paid = await change(
        dsn,
        gone.format("fills", "execution = (SELECT execution FROM fills WHERE bot = $1 AND cause = 'funding' LIMIT 1)"),
        name,
    )
    assert paid["symbol"] in "".join(one for one in (await read(dsn, name)).differences if "is in no row" in one)
    await change(dsn, gone.format("decisions", "kind = 'wallet' AND fields->>'amount' = '500.0'"), name)
    assert "account: +500.00000000 of" in (await read(dsn, name)).differences[-1]
    await change(dsn, gone.format("decisions", "kind = 'wallet' AND fields->>'origin' = 'opening'"), name)
    assert "did not record it" in (await read(dsn, name)).differences[-1]
