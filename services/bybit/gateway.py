"""The Gateway port over Bybit's v5 interface, through ccxt: signing, addresses and sockets are ccxt's.

Live, demo, testnet and the project's own venue are the same adapter with another address. Whatever the venue says is
translated here once; a request whose outcome is unknown is looked up by its link and never blindly sent again.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import ccxt
import ccxt.pro
import structlog
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from bot.errors import Misconfigured
from bot.instrument import Instrument, Market
from bot.ports import (
    Account,
    Changed,
    Execution,
    Gap,
    Gone,
    NotPermitted,
    Order,
    OrderState,
    Refused,
    Resting,
    Sink,
    Unanswered,
    Unreachable,
)
from bot.record import new_records
from bot.rollup import BAR
from services.bybit import words
from services.bybit.limiter import Limiter, Priority
from services.bybit.words import Remedy

log = structlog.get_logger()

ENVIRONMENTS = ("live", "demo", "testnet")
ATTEMPTS = 5
LOOKUPS = 4
WEEK_MS = 7 * 86_400_000
MINUTE = 60_000
LEAST_PAUSE, MOST_PAUSE = 0.1, 10.0


class Said(Exception):
    """The venue answered with a code other than 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class _Taken(Exception):
    """An order with this link exists already, alive or not."""


class _Bybit(ccxt.pro.bybit):  # type: ignore[misc]
    """Ccxt's client, with the venue's own codes and its streams' own messages handed on."""

    sink: Any = None
    subscribed: Any = None

    def handle_errors(self, *arguments: Any) -> None:
        """Hand the venue's code on instead of ccxt's reading of it."""
        response = arguments[6]
        if isinstance(response, dict) and "retCode" in response and int(response["retCode"]) != 0:
            raise Said(int(response["retCode"]), str(response.get("retMsg", "")))

    def handle_message(self, client: Any, message: Any) -> None:
        """Hand topics on; everything else (log-in, pings) is ccxt's business."""
        if isinstance(message, dict) and "topic" in message and self.sink is not None:
            self.sink(message)
            return
        if isinstance(message, dict) and message.get("op") == "subscribe" and message.get("success"):
            self.subscribed(client.url)
        super().handle_message(client, message)


class Bybit:
    """One account at Bybit, or at what speaks like it."""

    def __init__(
        self,
        *,
        key: str,
        secret: str,
        market: Market,
        environment: str = "live",
        address: str | None = None,
        rate: float = 10.0,
        timeout: float = 10.0,
    ) -> None:
        self.category = str(market.value)
        self.market = market
        self.client = _Bybit(
            {"apiKey": key, "secret": secret, "enableRateLimit": False, "timeout": int(timeout * 1000)}
        )
        self.client.sink = self._heard
        self.client.subscribed = self._subscribed
        if address is not None:
            self._point_at(address)
        elif environment == "testnet":
            self.client.set_sandbox_mode(True)
        elif environment == "demo":
            self.client.enable_demo_trading(True)
        elif environment != "live":
            raise Misconfigured(f"environment is {environment!r}; choose one of {', '.join(ENVIRONMENTS)}.")
        self.limiter = Limiter(rate)
        self.known: dict[str, Instrument] = {}  # the bot's ticks and lots
        self.listed: dict[str, Instrument] = {}  # the venue's, should they have changed since
        self.heard = {"public": 0, "private": 0}
        self.errors: dict[int, int] = {}
        self.changes: Counter[tuple[str, str]] = Counter()  # sent, by what and with what outcome
        self.heard_at = time.monotonic()
        self._sink: Sink | None = None
        self._symbols: list[str] = []
        self.pauses = {"public": LEAST_PAUSE, "private": LEAST_PAUSE}  # seconds before a stream is tried again
        self.hearing = {"public": asyncio.Event(), "private": asyncio.Event()}

    def _point_at(self, address: str) -> None:
        api, socket = self.client.urls["api"], address.replace("http", "ws", 1)
        for name in ("spot", "futures", "v2", "public", "private"):
            api[name] = address
        for name in api["ws"]["public"]:
            api["ws"]["public"][name] = f"{socket}/v5/public/{name}"
        api["ws"]["private"]["contract"] = f"{socket}/v5/private"

    async def close(self) -> None:
        """Close every connection."""
        await self.client.close()

    # Asking

    @retry(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(0.1, max=5),
        reraise=True,
    )
    async def _ask(self, method: str, parameters: dict[str, Any], priority: Priority = Priority.ASK) -> dict[str, Any]:
        """Ask a question; it may be asked again. Raises Unreachable, NotPermitted or Refused."""
        await self.limiter.turn(priority)
        try:
            answer = await getattr(self.client, method)(parameters)
        except Said as said:
            await self._mind(said)
            raise self._error(said) from None
        except ccxt.BaseError as error:
            raise Unreachable(f"the venue did not answer {method}: {type(error).__name__}") from None
        return dict(answer["result"])

    async def _ask_where_there_is(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Ask what demo trading may not answer; nothing then."""
        try:
            return await self._ask(method, parameters)
        except Refused as refusal:
            if refusal.code != words.NOT_IN_DEMO:
                raise
            return {}

    async def _mind(self, said: Said) -> None:
        """Count a code, and heed the two that are about the bot's manners."""
        self.errors[said.code] = self.errors.get(said.code, 0) + 1
        what = words.remedy(said.code, said.message)
        if what is Remedy.SLOWER:
            self.limiter.pause(1.0)
        elif what is Remedy.CLOCK:
            await self.measure_clock()

    def _error(self, said: Said) -> Exception:
        what = words.remedy(said.code, said.message)
        if what in (Remedy.AGAIN, Remedy.SLOWER, Remedy.CLOCK):
            return Unreachable(f"the venue asks for patience ({said.code}): {said.message}")
        if what is Remedy.PERSON:
            return NotPermitted(f"{words.SENTENCES.get(said.code, said.message)} (code {said.code}).")
        if what is Remedy.GONE:
            return Gone(f"the order is no longer there ({said.code})")
        return Refused(said.code, said.message)

    async def _all(self, method: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Every page of a list, or nothing at all."""
        return [row async for row in self._pages(method, parameters)]

    async def _pages(self, method: str, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        cursor, seen = "", set()
        while True:
            page = await self._ask(method, {**parameters, **({"cursor": cursor} if cursor else {})})
            for row in page["list"]:
                yield row
            cursor = page.get("nextPageCursor") or ""
            if not cursor or not page["list"]:
                return
            if cursor in seen:
                raise Unreachable(f"the venue gave the same page of {method} twice")
            seen.add(cursor)

    async def now(self) -> int:
        """The venue's time, ms."""
        return int((await self._ask("publicGetV5MarketTime", {}))["timeNano"]) // 1_000_000

    async def measure_clock(self) -> int:
        """Measure how far this clock is ahead of the venue's (median of five, ms), and sign by the venue's."""
        offsets = []
        for _ in range(5):
            before = self.client.milliseconds()
            there = await self.now()
            offsets.append((before + self.client.milliseconds()) / 2 - there)
        offset = round(statistics.median(offsets))
        self.client.options["timeDifference"] = offset + 500 if abs(offset) > 500 else offset
        return offset

    async def instruments(self, symbols: list[str]) -> dict[str, Instrument]:
        """What the venue says of these symbols; raises Misconfigured for one that it does not trade."""
        found = await self.listing(symbols)
        for symbol, one in found.items():
            if isinstance(one, str):
                raise Misconfigured(f"pairs has {symbol}, which the venue does not trade ({one}); remove it.")
            self.know(one)
        return {symbol: self.known[symbol] for symbol in symbols}

    async def listing(self, symbols: list[str]) -> dict[str, Instrument | str]:
        """What the venue says of these symbols: the instrument, or in words why it is not traded."""
        listed = await self._all("publicGetV5MarketInstrumentsInfo", {"category": self.category, "limit": 1000})
        rows = {row["symbol"]: row for row in listed if row.get("contractType") in (None, "LinearPerpetual")}
        found: dict[str, Instrument | str] = {}
        for symbol in symbols:
            row = rows.get(symbol)
            if row is None or row["status"] != "Trading":
                found[symbol] = f"not listed as {self.category}" if row is None else f"status {row['status']}"
                continue
            parameters = {"category": self.category, "symbol": symbol}
            answer = await self._ask_where_there_is("privateGetV5AccountFeeRate", parameters)
            rates = next(iter(answer.get("list", [])), None)
            fees = (Decimal(rates["makerFeeRate"]), Decimal(rates["takerFeeRate"])) if rates else None
            found[symbol] = self.listed[symbol] = words.instrument(row, self.market, fees)
        return found

    def know(self, instrument: Instrument) -> None:
        """Translate prices and quantities of its symbol by this instrument from now on."""
        self.known[instrument.symbol] = instrument

    async def candles(self, symbol: str, since: int, until: int) -> Any:
        """Closed one-minute candles that open in [since, until), BAR (n,); the newest one still forms."""
        rows: dict[int, list[Any]] = {}
        end = min(until, await self.newest(symbol)) - 1
        while end >= since:
            parameters = {"category": self.category, "symbol": symbol, "interval": "1", "limit": 1000}
            page = await self._ask("publicGetV5MarketKline", {**parameters, "start": since, "end": end})
            if not page["list"]:
                break
            rows.update((int(row[0]), row) for row in page["list"])
            end = min(int(row[0]) for row in page["list"]) - 1
        bars = new_records(BAR, len(rows))
        for index, ts in enumerate(sorted(rows)):
            bars[index] = (ts, *(float(one) for one in rows[ts][1:6]))
        return bars

    async def newest(self, symbol: str) -> int:
        """Opening time of the candle that forms now, ms: the market's own clock."""
        parameters = {"category": self.category, "symbol": symbol, "interval": "1", "limit": 1}
        page = await self._ask("publicGetV5MarketKline", parameters)
        return max((int(row[0]) for row in page["list"]), default=0)

    async def price(self, symbol: str) -> float:
        """Last price, quote currency."""
        answer = await self._ask("publicGetV5MarketTickers", {"category": self.category, "symbol": symbol})
        return float(answer["list"][0]["lastPrice"])

    async def rights(self) -> dict[str, Any] | None:
        """What the API key may do, by Bybit's names (a key that may only read: nothing); None where nobody says."""
        answer = await self._ask_where_there_is("privateGetV5UserQueryApi", {})
        if not answer:
            return None
        return {} if int(answer.get("readOnly", 0)) else dict(answer["permissions"])

    async def account(self) -> Account:
        """Wallet and positions; one-way mode's rows are added up, since hedge mode shows two."""
        wallet = await self._ask("privateGetV5AccountWalletBalance", {"accountType": "UNIFIED"})
        balance = float(wallet["list"][0]["totalWalletBalance"])
        held: dict[str, int] = {}
        if self.category == "linear":
            rows = await self._all(
                "privateGetV5PositionList", {"category": "linear", "settleCoin": "USDT", "limit": 200}
            )
            for row in rows:
                of = self.known.get(row["symbol"])
                if of is not None:
                    signed = words.lots(of, row["size"]) * (1 if row["side"] == "Buy" else -1)
                    held[row["symbol"]] = held.get(row["symbol"], 0) + signed
        return Account(balance, held)

    async def prepare(self, symbol: str, leverage: float) -> bool:
        """See that the account trades this symbol in one-way mode and with this leverage; NotPermitted if it cannot.

        True when the leverage was another.
        """
        if self.category != "linear":
            return False
        row = (await self._ask("privateGetV5PositionList", {"category": "linear", "symbol": symbol}))["list"]
        if any(int(one["positionIdx"]) != 0 for one in row):
            raise NotPermitted(f"{symbol} is in hedge mode; switch the account to one-way mode at the venue.")
        if row and float(row[0].get("leverage") or 0) != leverage:
            level = format(Decimal(repr(leverage)).normalize(), "f")
            request = {"category": "linear", "symbol": symbol, "buyLeverage": level, "sellLeverage": level}
            try:
                await self._repeat("privatePostV5PositionSetLeverage", request, Priority.ASK)
            except Refused as refusal:
                raise NotPermitted(f"{symbol}: leverage {level} cannot be set; {refusal}") from None
            return True
        return False

    async def resting(self, symbol: str) -> list[Resting]:
        """Every order that rests, all pages."""
        parameters = {"category": self.category, "symbol": symbol, "openOnly": 0, "limit": 50}
        rows = await self._all("privateGetV5OrderRealtime", parameters)
        return [words.resting(row, self.known[symbol]) for row in rows]

    async def executions(self, symbol: str, since: int) -> list[Execution]:
        """Every execution from `since` (ms) on, oldest first."""
        found: dict[str, Execution] = {}
        until = await self.newest(symbol) + 2 * MINUTE
        for start in range(since, until, WEEK_MS):
            parameters = {"category": self.category, "symbol": symbol, "startTime": start, "limit": 100}
            rows = await self._all("privateGetV5ExecutionList", {**parameters, "endTime": start + WEEK_MS - 1})
            for row in rows:
                one = words.execution(row, self.known[symbol])
                if one is not None:
                    found.setdefault(one.id, one)
        return sorted(found.values(), key=lambda one: (one.ts, one.id))

    async def find(self, symbol: str, link: str) -> Resting | None:
        """What the venue knows of an order by its link; None if it never heard of it."""
        for method in ("privateGetV5OrderRealtime", "privateGetV5OrderHistory"):
            parameters = {"category": self.category, "symbol": symbol, "orderLinkId": link}
            for row in (await self._ask(method, parameters, Priority.PROTECT))["list"]:
                return words.resting(row, self.known[symbol])
        return None

    # Changing

    def _count(self, method: str, outcome: str) -> None:
        self.changes[method.removeprefix("privatePostV5"), outcome] += 1

    async def _change(self, method: str, parameters: dict[str, Any], priority: Priority) -> None:
        """Send a change once. Raises Unanswered when its outcome is unknown, Unreachable when nothing was done."""
        await self.limiter.turn(priority)
        try:
            await getattr(self.client, method)(parameters)
            self._count(method, "taken")
        except Said as said:
            await self._mind(said)
            what = words.remedy(said.code, said.message)
            self._count(method, what.value)
            if what is Remedy.DONE:
                return
            if what is Remedy.TAKEN:
                raise _Taken from None
            raise self._error(said) from None
        except ccxt.BaseError as error:
            self._count(method, "unanswered")
            raise Unanswered(f"{method} was sent and not answered: {type(error).__name__}") from None

    async def place(self, symbol: str, order: Order) -> None:
        """See that this order exists. Raises Refused, Gone when it has ended, Unanswered when nothing helped."""
        request = words.creation(self.category, order, self.known[symbol], self.listed.get(symbol))
        priority = Priority.PROTECT if order.reduce_only else Priority.ENTER
        for _ in range(LOOKUPS):
            try:
                return await self._change("privatePostV5OrderCreate", request, priority)
            except _Taken:
                found = await self.find(symbol, order.link)
                if found is not None and found.state in (OrderState.CANCELLED, OrderState.REFUSED):
                    raise Gone(f"order {order.link} has ended") from None
                return None
            except Unreachable:
                await asyncio.sleep(0.05)
            except Unanswered:
                log.warning("order_unanswered", pair=symbol, order=order.link)
                if await self.find(symbol, order.link) is not None:
                    return None
        raise Unanswered(f"{symbol}: order {order.link} could not be placed in {LOOKUPS} attempts")

    async def amend(self, symbol: str, order: Order) -> None:
        """Move a resting order; sending the same twice is harmless. Raises Gone, Refused or Unanswered."""
        request = words.amendment(self.category, order, self.known[symbol], self.listed.get(symbol))
        priority = Priority.PROTECT if order.reduce_only else Priority.ENTER
        await self._repeat("privatePostV5OrderAmend", request, priority)

    async def cancel(self, symbol: str, link: str) -> None:
        """Cancel an order; one that is no longer there raises Gone."""
        request = {"category": self.category, "symbol": symbol, "orderLinkId": link}
        await self._repeat("privatePostV5OrderCancel", request, Priority.PROTECT)

    async def _repeat(self, method: str, request: dict[str, Any], priority: Priority) -> None:
        for attempt in range(LOOKUPS):
            try:
                return await self._change(method, request, priority)
            except (Unreachable, Unanswered):
                if attempt == LOOKUPS - 1:
                    raise
                await asyncio.sleep(0.05)
        return None

    # Hearing

    async def listen(self, symbols: list[str], sink: Sink) -> None:
        """Tell `sink` what the streams say, for ever; a lost stream comes back and leaves a Gap to be filled."""
        self._sink, self._symbols = sink, symbols
        public = self.client.urls["api"]["ws"]["public"][self.category]
        private = self.client.urls["api"]["ws"]["private"]["contract"]
        await asyncio.gather(
            self._hold(public, [f"kline.1.{symbol}" for symbol in symbols], "public"),
            self._hold(private, ["execution", "order"], "private"),
        )

    async def _hold(self, address: str, topics: list[str], name: str) -> None:
        while True:
            try:
                if name == "private":
                    await self.client.authenticate(address)
                await self.client.watch_topics(address, topics, topics)  # ends only when the stream does
            except (ccxt.BaseError, OSError) as error:
                log.warning("stream_lost", stream=name, error=type(error).__name__)
            self.hearing[name].clear()
            await asyncio.sleep(self.pauses[name])
            self.pauses[name] = min(self.pauses[name] * 2, MOST_PAUSE)

    def _subscribed(self, address: str) -> None:
        """A stream runs: what it did not tell is to be asked for."""
        assert self._sink is not None
        name = "private" if address.endswith("/private") else "public"
        self.pauses[name] = LEAST_PAUSE
        self.hearing[name].set()
        for symbol in self._symbols:
            self._sink(Gap(symbol))

    def _heard(self, message: dict[str, Any]) -> None:
        """Translate one message of a stream."""
        topic, data = message["topic"], message["data"]
        self.heard_at = time.monotonic()
        assert self._sink is not None
        if topic.startswith("kline."):
            symbol = topic.rsplit(".", 1)[1]
            for row in data:
                bar = words.closed(symbol, row)
                if bar is not None:
                    self._sink(bar)
            self.heard["public"] += 1
            return
        self.heard["private"] += 1
        for row in data:
            of = self.known.get(row["symbol"])
            if of is None or row.get("category", self.category) != self.category:
                continue
            if topic.startswith("execution"):
                one = words.execution(row, of, self.heard_at)
                if one is not None:
                    self._sink(one)
            elif topic.startswith("order"):
                self._sink(Changed(row["symbol"], words.resting(row, of)))
