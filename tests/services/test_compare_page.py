"""Variants side by side: figures in sample beside held out, and how long a search may take by those before it."""

from __future__ import annotations

import asyncio
import json

from services.app.research_answers import CURVE_POINTS, answer, curve_of
from services.market_data.store import CandleStore
from services.storage.jobs import JobStatus, JobStore
from tests.conftest import walk
from tests.services.console_house import console
from tests.services.research_house import write_search


def test_up_to_six_variants_stand_side_by_side(dsn, name, tmp_path):
    first, second = (f"{name.encode().hex()}{place}".rjust(16, "0")[-16:] for place in range(2))

    async def main():
        async with console(dsn, tmp_path, name) as house:
            for session in (first, second):
                await write_search(house.built.sources.research.pool, session)
            token = await house.token("read")
            _, page, _ = await house.ask("GET", f"/compare?run={first}-1&run={second}-2&run={first}-1", token)
            text = page.decode()
            assert f'data-runs="{first}-1 {second}-2"' in text  # each once
            assert text.count('scope="colgroup"') == 2
            assert "10.00\N{NO-BREAK SPACE}%" in text and "30.00\N{NO-BREAK SPACE}%" in text  # in sample
            runs = "&".join(f"run={first}-{number}" for number in range(7))
            for query, status in ((f"run={first}-9", 404), (runs, 422), ("", 422), ("run=x", 422)):
                assert (await house.ask("GET", f"/compare?{query}", token))[0] == status, query

    asyncio.run(main())


def test_a_search_says_how_long_it_may_take_by_the_last_of_its_kind(dsn, name, tmp_path):
    strategy = f"grid{name}"

    async def main():
        store = await JobStore.open(dsn)
        job = await store.begin((await store.submit(name, "sweep", {"strategy": strategy, "grid": name})).job, "w")
        await store.tell(job, 40, 40, None)
        await store.finish(job, JobStatus.SUCCEEDED, {})
        await store.pool.execute("UPDATE jobs SET began = ended - interval '20 seconds' WHERE job = $1", job.job)
        await store.close()
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("control")
            for kind, seconds in (("sweep", 4.0), ("walkforward", None)):  # 8 variants, half a second each
                body = {"kind": kind, "request": {"strategy": strategy, "grid": {}}}
                _, told, _ = await house.ask("POST", "/api/v1/backtests/estimate", token, json=body)
                assert told["seconds"] == seconds

    asyncio.run(main())


def test_several_pairs_auto_leverage_and_costs_are_read_as_the_builder_says_them(tmp_path):
    for pair in ("BTCUSDT", "ETHUSDT"):
        CandleStore(tmp_path).write("bybit", "linear", pair, walk(1440, seed=3))
    pairs = {"pairs": ["BTCUSDT", "ETHUSDT"], "exchange": "bybit", "market": "linear", "leverage": 2}
    fees = {"maker_fee": "0.05%"}
    for asked in (
        {"strategy": "auto", **pairs, "instruments": {"BTCUSDT": fees, "ETHUSDT": fees}},
        {"strategy": "grid", **pairs, "execution": {"slippage_bps": 3, "forced_exit_bps": 9}, "grid": {}},
    ):
        line = json.dumps({"question": "request", "said": {"kind": "run", "request": asked}})
        assert answer(line, tmp_path)["answer"]["variants"] == 1


class Run:
    """What a curve is read from."""

    def __init__(self, equity):
        import polars as pl

        self.config = type("Config", (), {"capital": 1000.0})()
        self.equity = pl.DataFrame({"ts": list(range(len(equity))), "equity": equity})


def test_a_curve_is_thinned_and_ends_where_the_run_ended():
    told = curve_of(Run([1000.0 + k for k in range(10_001)]))
    assert len(told["at"]) <= CURVE_POINTS + 2
    assert (told["at"][0], told["equity_pct"][0]) == (0, 0.0)
    assert (told["at"][-1], told["equity_pct"][-1]) == (10_000, 1000.0)
    assert curve_of(Run([])) == {"at": [], "equity_pct": []}
