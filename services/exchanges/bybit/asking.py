"""What can be asked of Bybit without changing anything: instruments, candles, money, positions, orders, executions."""

from __future__ import annotations

from typing import Any

from bot.errors import Misconfigured
from bot.instrument import Instrument, RiskTier
from bot.ports import Account, Execution, KeyRights, OpenOrder, PartialStop, Position, Transfer
from bot.record import new_records
from bot.rollup import BAR
from bot.times import DAY, MINUTE, WEEK
from services.exchanges.bybit import codec
from services.exchanges.bybit.connection import Connection
from services.exchanges.bybit.key_rights import key_rights
from services.exchanges.bybit.limiter import Priority
from services.exchanges.bybit.partial_stops import partial_stop

MOST_AT_ONCE = WEEK  # the longest time that the venue answers about at once
LOG_DAYS = 730  # for so long it keeps its log


class Asking(Connection):
    """Questions."""

    async def instruments(self, symbols: list[str]) -> dict[str, Instrument]:
        """What the venue says of these symbols; raises Misconfigured for one that the bot cannot trade."""
        found = await self.listing(symbols)
        for symbol, one in found.items():
            if isinstance(one, str):
                raise Misconfigured(f"pairs has {symbol}, which cannot be traded: {one}; remove it.")
            self.know(one)
        return {symbol: self.known[symbol] for symbol in symbols}

    async def listing(self, symbols: list[str]) -> dict[str, Instrument | str]:
        """What the venue says of these symbols: the instrument, or in words why it is not traded."""
        request: dict[str, Any] = {"category": self.category, "limit": 1000}
        if len(symbols) == 1:
            request["symbol"] = symbols[0]
        rows = await self.ask_all("publicGetV5MarketInstrumentsInfo", request, lambda row: (row["symbol"], row))
        listed = {symbol: row for symbol, row in rows if row.get("contractType") in (None, "LinearPerpetual")}
        return {symbol: await self._instrument(symbol, listed.get(symbol)) for symbol in symbols}

    async def _instrument(self, symbol: str, row: dict[str, Any] | None) -> Instrument | str:
        if row is None:
            return f"not listed as {self.category}"
        if row.get("status") != "Trading":
            return f"status {row.get('status')}"
        listing = "publicGetV5MarketInstrumentsInfo"
        coin = self.read(listing, lambda: codec.settles_in(row, self.market))
        if coin != codec.COIN:
            return f"it settles in {coin}, and the bot's money is counted in {codec.COIN} alone"
        request = {"category": self.category, "symbol": symbol}
        fees = await self.where_there_is(self.ask("privateGetV5AccountFeeRate", request, codec.fees))
        tiers = await self._risk_tiers(symbol) if self.category == "linear" else []
        found = self.listed[symbol] = self.read(
            listing, lambda: codec.instrument(row, self.market, fees, tiers, large_positions=self.large_positions)
        )
        return found

    async def _risk_tiers(self, symbol: str) -> list[RiskTier]:
        """How large a position may be at which leverage; none where nobody says."""
        request = {"category": self.category, "symbol": symbol}
        return await self.where_there_is(self.ask_all("publicGetV5MarketRiskLimit", request, codec.risk_tier)) or []

    def know(self, instrument: Instrument) -> None:
        """Translate prices and quantities of its symbol by this instrument from now on."""
        self.known[instrument.symbol] = instrument

    # Market

    async def candles(self, symbol: str, since: int, until: int) -> Any:
        """Closed one-minute candles that open in [since, until), BAR (n,); the newest one still forms."""
        rows: dict[int, tuple[int, float, float, float, float, float]] = {}
        end = min(until, await self.newest(symbol)) - 1
        while end >= since:
            page = await self._klines(symbol, limit=1000, start=since, end=end)
            if not page:
                break
            rows.update((row[0], row) for row in page)
            end = min(row[0] for row in page) - 1
        bars = new_records(BAR, len(rows))
        for index, ts in enumerate(sorted(rows)):
            bars[index] = rows[ts]
        return bars

    async def _klines(self, symbol: str, **window: int) -> list[tuple[int, float, float, float, float, float]]:
        request = {"category": self.category, "symbol": symbol, "interval": "1", **window}
        return await self.ask("publicGetV5MarketKline", request, codec.candles)

    async def newest(self, symbol: str) -> int:
        """Opening time of the candle that forms now, ms: the market's own clock."""
        return max((row[0] for row in await self._klines(symbol, limit=1)), default=0)

    async def price(self, symbol: str) -> float:
        """Last price, quote currency."""
        return await self.ask(
            "publicGetV5MarketTickers",
            {"category": self.category, "symbol": symbol},
            lambda answer: codec.number(answer["list"][0]["lastPrice"]),
        )

    # Account

    async def key_rights(self) -> KeyRights | None:
        """What the API key may do; None in demo trading, where nobody says."""
        market = "ContractTrade" if self.category == "linear" else "Spot"
        return await self.where_there_is(
            self.ask("privateGetV5UserQueryApi", {}, lambda answer: key_rights(answer, market))
        )

    async def account(self) -> Account:
        """Wallet of the settlement coin, and positions of every known symbol; spot has coins and no positions."""
        request = {"accountType": "UNIFIED", "coin": codec.COIN}
        wallet = await self.ask("privateGetV5AccountWalletBalance", request, codec.wallet)
        if self.category != "linear":
            return Account(wallet)
        held, costs = dict.fromkeys(self.known, 0), dict.fromkeys(self.known, 0.0)
        request = {"category": "linear", "settleCoin": codec.COIN, "limit": "200"}
        rows = await self.ask_all(
            "privateGetV5PositionList", request, lambda row: codec.held_at(row, self.known.get(row["symbol"]))
        )
        for symbol, lots, cost in rows:
            held[symbol] += lots  # hedge mode has two rows
            costs[symbol] += cost
        return Account(wallet, held, costs)

    async def position(self, symbol: str, priority: Priority = Priority.PROTECT) -> Position:
        """The symbol's position and its stop; NotPermitted in hedge mode. Spot has none."""
        if self.category != "linear":
            return Position(symbol)
        request = {"category": "linear", "symbol": symbol}
        of = self.known[symbol]
        return await self.ask(
            "privateGetV5PositionList", request, lambda answer: codec.the_position(answer, of), priority
        )

    async def transfers(self, since: int) -> list[Transfer] | None:
        """Transfers of the settlement coin after `since` (ms), oldest first; None where the venue keeps no log."""
        until = await self.newest(next(iter(self.known))) + 2 * MINUTE if self.known else await self.now()
        found: dict[str, Transfer] = {}
        for start in range(max(since, until - LOG_DAYS * DAY), until, MOST_AT_ONCE):
            for kind in codec.TRANSFERS:
                rows = await self._transfers(kind, start, min(start + MOST_AT_ONCE, until) - 1)
                if rows is None:
                    return None
                found.update((one.id, one) for one in rows if one.ts > since)
        return sorted(found.values(), key=lambda one: (one.ts, one.id))

    async def _transfers(self, kind: str, start: int, end: int) -> list[Transfer] | None:
        request = {"accountType": "UNIFIED", "currency": codec.COIN, "type": kind, "limit": 50}
        window = {"startTime": start, "endTime": end}
        return await self.where_there_is(
            self.ask_all("privateGetV5AccountTransactionLog", {**request, **window}, codec.transfer)
        )

    # Orders

    async def open_orders(self, symbol: str) -> list[OpenOrder]:
        """Every order that rests, all pages; the position's own stop and target are none."""
        of = self.known[symbol]
        request = {"category": self.category, "symbol": symbol, "openOnly": 0, "limit": 50}
        return await self.ask_all(
            "privateGetV5OrderRealtime", request, lambda row: None if codec.is_own(row) else codec.open_order(row, of)
        )

    async def partial_stops(self, symbol: str) -> list[PartialStop]:
        """Every stop of a part of the position."""
        of = self.known[symbol]
        request = {"category": self.category, "symbol": symbol, "openOnly": 0, "limit": 50}
        return await self.ask_all("privateGetV5OrderRealtime", request, lambda row: partial_stop(row, of))

    async def open_names(self) -> list[str]:
        """Client order ids of everything that rests in the account, whatever the symbol."""
        request: dict[str, Any] = {"category": self.category, "openOnly": 0, "limit": 50}
        if self.category == "linear":
            request["settleCoin"] = codec.COIN
        found = await self.ask_all("privateGetV5OrderRealtime", request, lambda row: str(row["orderLinkId"]))
        return [client_order_id for client_order_id in found if client_order_id]

    async def open_positions(self) -> list[str] | None:
        """Symbols of every position in the account; None in spot, which has coins instead."""
        if self.category != "linear":
            return None
        request = {"category": "linear", "settleCoin": codec.COIN, "limit": "200"}
        return await self.ask_all(
            "privateGetV5PositionList", request, lambda row: str(row["symbol"]) if float(row["size"]) else None
        )

    async def executions(self, symbol: str, since: int) -> list[Execution]:
        """Every execution from `since` (ms) on, oldest first."""
        found: list[Execution] = []
        until = await self.newest(symbol) + 2 * MINUTE
        for start in range(since, until, MOST_AT_ONCE):
            found += await self._executions(symbol, startTime=start, endTime=start + MOST_AT_ONCE - 1)
        return _in_order(found)

    async def executions_of(self, symbol: str, client_order_id: str) -> list[Execution]:
        """Every execution of one order, oldest first, however long ago."""
        found = await self._executions(symbol, orderLinkId=client_order_id)
        return _in_order([one for one in found if one.client_order_id == client_order_id])

    async def _executions(self, symbol: str, **chosen: Any) -> list[Execution]:
        of = self.known[symbol]
        request = {"category": self.category, "symbol": symbol, "limit": 100, **chosen}
        return await self.ask_all("privateGetV5ExecutionList", request, lambda row: codec.execution(row, of))

    async def find(self, symbol: str, client_order_id: str) -> OpenOrder | None:
        """What the venue knows of an order by its client order id; None if it never heard of it."""
        of = self.known[symbol]
        request = {"category": self.category, "symbol": symbol, "orderLinkId": client_order_id}
        for method in ("privateGetV5OrderRealtime", "privateGetV5OrderHistory"):
            found = await self.ask(
                method,
                request,
                lambda answer: [codec.open_order(row, of) for row in codec.rows(answer)],
                Priority.PROTECT,
            )
            for one in found:
                if one.client_order_id == client_order_id:
                    return one
        return None


def _in_order(executions: list[Execution]) -> list[Execution]:
    """Sort by time, each execution once."""
    return sorted({one.id: one for one in executions}.values(), key=lambda one: (one.ts, one.id))
