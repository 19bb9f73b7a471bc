"""The probe finds out what the exchange does, whichever way its unverified rules are set."""

from __future__ import annotations

import asyncio

import pytest

from bot.ports import NotPermitted
from services.simulated_bybit.unverified import Unverified
from services.trials.probe import probe
from tests.runtime.house import config, exchange_for, gateway_to, venue


def probed(rules, *, live=False, before=None):
    async def main():
        exchange = exchange_for(config())
        exchange.unverified = rules
        async with venue(exchange) as house:
            gateway = gateway_to(house.address)

            async def market(_seconds):  # goes on while the probe waits
                exchange.step()

            try:
                await gateway.measure_clock()
                if before is not None:
                    before(exchange)
                found = await probe(gateway, "SOLUSDT", live=live, asleep=market)
            finally:
                await gateway.close()
            assert exchange.books["SOLUSDT"].position == 0
            assert exchange.live("SOLUSDT") == []
            return {one.rule: one.holds for one in found if one.rule}, [one.holds for one in found if not one.rule]

    return asyncio.run(main())


@pytest.mark.parametrize("turning", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_the_probe_tells_each_rule_as_the_exchange_has_it(turning, plain):
    leave = turning is plain  # both ways, without twice as many runs
    chosen = {"turning_stops_hold": turning, "plain_fill_keeps_stop": plain, "partial_stops_leave": leave}
    rules, certain = probed(Unverified(**chosen))
    assert rules == chosen
    assert certain == [True, True, True]


def test_the_probe_trades_neither_live_nor_beside_anything():
    with pytest.raises(NotPermitted, match="never for a live one"):
        probed(Unverified(), live=True)

    def open_orders(exchange):
        exchange.create("SOLUSDT", 1, 0, 1000, 10, client_order_id="mine", reduce_only=False, post_only=False)

    with pytest.raises(NotPermitted, match="nobody trades"):
        probed(Unverified(), before=open_orders)
