"""Money, positions and the limits of an instrument as the venue tells them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bot.errors import Misconfigured
from bot.instrument import Market
from bot.order import OrderKind
from bot.ports import NotPermitted, Transfer
from services.doctor import _pairs
from services.exchanges.bybit import codec
from services.runtime.config import BotSettings, load_bot
from services.simulated_bybit import codec as theirs
from tests.runtime.house import DAY, config, exchange_for
from tests.services.hooked import with_gateway

WALLET = "account/wallet-balance"


def wallet(*coins, kind="UNIFIED", total="99999"):
    return {"list": [{"accountType": kind, "totalWalletBalance": total, "coin": list(coins)}]}


def test_f_69_a_symbol_without_a_position_is_zero():
    async def play(gateway, exchange, server):
        exchange.create("BTCUSDT", -1, OrderKind.MARKET, 0, 10, client_order_id="", reduce_only=False, post_only=False)
        exchange.step()
        return (await gateway.account()).positions

    assert with_gateway(play) == {"BTCUSDT": -10, "SOLUSDT": 0}


def test_f_71_the_wallet_is_the_settlement_coin_s_own_row():
    async def play(gateway, exchange, server):
        bitcoin = {"coin": "BTC", "walletBalance": "2", "usdValue": "90000"}
        tether = {"coin": "USDT", "walletBalance": "512.5", "equity": "600", "usdValue": "512.1"}
        server.answers[WALLET] = wallet(bitcoin, tether)
        first = (await gateway.account()).wallet
        server.answers[WALLET] = wallet(bitcoin)
        return first, (await gateway.account()).wallet

    assert with_gateway(play) == (512.5, 0.0)


@pytest.mark.parametrize(
    "answer",
    [
        wallet({"coin": "USDT", "walletBalance": ""}),
        wallet({"coin": "USDT"}),
        wallet({"coin": "USDT", "walletBalance": "5"}, kind="CONTRACT"),
        {"list": []},
        (10028, "only unified account"),
    ],
)
def test_f_71_an_account_whose_money_is_not_told_is_one_clear_sentence(answer):
    async def play(gateway, exchange, server):
        with pytest.raises(NotPermitted, match="unified trading account") as caught:
            await gateway.account()
        return str(caught.value)

    sentence = with_gateway(play, {WALLET: answer})
    assert sentence.endswith(".") and "\n" not in sentence


def test_f_74_a_pair_that_settles_in_another_coin_is_refused_by_name():
    async def play(gateway, exchange, server):
        row = {**theirs.instrument(exchange.instruments["SOLUSDT"], trading=True), "settleCoin": "USDC"}
        server.answers["market/instruments-info"] = {"list": [row], "nextPageCursor": ""}
        with pytest.raises(Misconfigured, match=r"SOLUSDT.*USDC.*remove it"):
            await gateway.instruments(["SOLUSDT"])

    with_gateway(play)


def log_of(now):
    """The transaction log of ten days, asked for by kind, window and page."""
    rows = [
        {"id": f"{index}", "transactionTime": str(now - age * DAY), "type": kind, "currency": coin, "change": change}
        for index, (age, kind, coin, change) in enumerate(
            [
                (9, "TRANSFER_IN", "USDT", "100"),
                (8, "TRANSFER_OUT", "USDT", "-30"),
                (2, "TRANSFER_IN", "USDC", "7"),
                (1, "TRANSFER_IN", "USDT", "5"),
                (1, "TRANSFER_IN", "USDT", "6"),
            ]
        )
    ]

    def answer(query):
        start, end = int(query["startTime"]), int(query["endTime"])
        assert 0 <= end - start < 7 * DAY
        found = [one for one in rows if start <= int(one["transactionTime"]) <= end and one["type"] == query["type"]]
        first = int(query.get("cursor") or 0)
        return {"list": found[first : first + 1], "nextPageCursor": str(first + 1) if found[first + 1 :] else ""}

    return answer


def test_f_70_transfers_are_those_of_the_settlement_coin_in_windows_of_a_week_and_on_all_pages():
    async def play(gateway, exchange, server):
        server.answers["account/transaction-log"] = log_of(exchange.now)
        found = await gateway.transfers(exchange.now - 10 * DAY)
        later = await gateway.transfers(exchange.now - 8 * DAY)
        server.answers["account/transaction-log"] = (10032, "Demo trading are not supported.")
        return exchange.now, found, later, await gateway.transfers(exchange.now - DAY)

    now, found, later, demo = with_gateway(play)
    assert found[:2] == [Transfer("0", now - 9 * DAY, 100.0), Transfer("1", now - 8 * DAY, -30.0)]
    assert [one.amount for one in found] == [100.0, -30.0, 5.0, 6.0]
    assert [one.id for one in later] == ["3", "4"]
    assert demo is None


def test_f_72_the_limits_of_an_instrument_are_read():
    row = theirs.instrument(exchange_for(config()).instruments["BTCUSDT"], trading=True)
    row["lotSizeFilter"] |= {"maxOrderQty": "1190", "maxMktOrderQty": "500"}
    row |= {"leverageFilter": {"maxLeverage": "75.00"}, "riskParameters": {"priceLimitRatioX": "0.05"}}
    found = codec.instrument(row, Market.LINEAR, None)
    limits = (found.max_quantity, found.max_market_quantity, found.max_leverage, found.price_band)
    assert limits == (1190, 500, 75, Decimal("0.05"))
    spot = {"basePrecision": "0.001", "minOrderQty": "0.001", "minOrderAmt": "5"}
    spot |= {"maxLimitOrderQty": "83", "maxMarketOrderQty": "41", "maxOrderAmt": ""}
    found = codec.instrument({**row, "lotSizeFilter": spot}, Market.SPOT, None)
    assert (found.max_quantity, found.max_market_quantity, found.max_notional) == (83, 41, None)


@pytest.mark.parametrize(("most", "refused"), [("5.00", False), ("2.00", True)])
def test_f_72_doctor_tells_which_limit_binds_and_refuses_too_much_leverage(most, refused):
    async def play(gateway, exchange, server):
        row = theirs.instrument(exchange.instruments["BTCUSDT"], trading=True)
        row["leverageFilter"]["maxLeverage"] = most
        row["lotSizeFilter"]["maxMktOrderQty"] = "0.01"
        server.answers["market/instruments-info"] = {"list": [row], "nextPageCursor": ""}
        (found,) = await _pairs(gateway, config(pairs=("BTCUSDT",), leverage=3.0))
        return found

    found = with_gateway(play)
    assert "one market exit closes at most" in found.found and "entries stop there" in found.found
    assert ("leverage 3 is above the venue's 2" in found.remedy) is refused


def test_f_72_the_risk_tiers_are_read_and_doctor_tells_what_they_hold():
    async def play(gateway, exchange, server):
        tier = theirs.risk_tiers(exchange.instruments["BTCUSDT"])[0]
        server.answers["market/risk-limit"] = {
            "list": [
                {**tier, "riskLimitValue": "2000", "maxLeverage": "50.00"},
                {**tier, "riskLimitValue": "9000", "maxLeverage": "2.00"},
            ],
        }
        (found,) = await _pairs(gateway, config(pairs=("BTCUSDT",), leverage=3.0))
        read = gateway.listed["BTCUSDT"]
        server.answers["market/risk-limit"] = (10032, "Demo trading are not supported.")
        demo = (await gateway.instruments(["BTCUSDT"]))["BTCUSDT"]
        return found, [read.max_position_notional(leverage) for leverage in (1, 2, 3, 50, 51)], demo.risk_tiers

    found, most, demo = with_gateway(play)
    assert most == [9000.0, 9000.0, 2000.0, 2000.0, 0.0]
    assert "the risk tier of leverage 3 holds at most 2,000.00, less than its share: entries stop there" in found.found
    assert demo == ()


def test_f_72_doctor_tells_what_the_stops_of_a_large_position_close():
    async def play(gateway, exchange, server):
        gateway.large_positions = True
        exchange.relist("BTCUSDT", max_market_quantity=Decimal("0.01"))
        (found,) = await _pairs(gateway, config(pairs=("BTCUSDT",), leverage=3.0))
        return found.found

    assert "its stops close at most" in with_gateway(play)


def written(folder, name, pair):
    path = folder / "bot.yaml"
    path.write_text(f"strategy: auto\npairs: [{pair}]\nbot: {{name: {name}}}\n")
    return path


def test_row_7_names_whose_orders_would_get_too_long_an_id_are_refused(tmp_path):
    with pytest.raises(Misconfigured, match=r"bot\.name of at most 2 characters"):
        load_bot(written(tmp_path, "mainmain", "1000000BABYDOGEUSDT"))
    settings, _ = load_bot(written(tmp_path, "ab", "1000000BABYDOGEUSDT"))
    assert isinstance(settings, BotSettings)
    with pytest.raises(Misconfigured, match="remove"):
        load_bot(written(tmp_path, "a", "100000000000BABYDOGEUSDT"))
