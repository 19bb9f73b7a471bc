"""One market of an exchange through ccxt.pro: closed minutes by stream and by REST, instruments, funding.

Ccxt knows addresses, sockets, subscriptions and rates. Minutes are taken from the venue's own messages, because ccxt's
candles do not say whether a minute is closed. Needs no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

import ccxt
import ccxt.pro
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from bot.errors import TradingError, cut
from bot.instrument import Instrument, Market
from bot.times import HOUR, MINUTE
from services.market_data.canonical import Receipt, Source
from services.market_data.markets import VenueMarket
from services.market_data.public_trades import PublicTrade
from services.market_data.venue import as_instrument

log = structlog.get_logger()

T = TypeVar("T")

TradeRow = tuple[str, str, int, float, float, int]  # the venue's symbol, id, time (ms), price, quantity, direction
Row = tuple[str, int, float, float, float, float, float]  # the venue's symbol, opening (ms), prices, volume
MALFORMED = (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError)
PAGE: Final = 1000  # minutes of one answer
STREAMS_A_REQUEST: Final = 200  # of Binance, which takes five requests a second over one line
TOPICS_A_REQUEST: Final = 10  # that Bybit takes for spot
TRADES, SPOT_TRADES = 1000, 60  # of one answer; the smaller one is Bybit's for spot
TRADES_A_REQUEST: Final = 10
ATTEMPTS: Final = 3
UNREAD_TOLD: Final = 1000  # messages that cannot be read, between two lines about them
FUNDING_PAGE: Final = 200
FUNDING_SPAN: Final = FUNDING_PAGE * HOUR  # no venue settles more often than hourly


class FeedLost(TradingError):
    """A stream ended; it may be listened to again."""


class FeedUnreachable(TradingError):
    """The venue did not answer within the retries, or is in maintenance."""


class NotTraded(TradingError):
    """The venue does not know the symbol, or no longer."""


@dataclass(frozen=True)
class ListedInstrument:
    """An instrument as the venue lists it."""

    instrument: Instrument
    base: str
    quote: str
    tradable: bool


class _Tolerant:
    """A client whose candles and trades go to sinks as they come; no unreadable message ends its sockets."""

    sink: Callable[[Row], None]
    trade_sink: Callable[[TradeRow], None]
    unreadable: Callable[[Exception], None]

    def client(self, url: str) -> Any:
        socket = super().client(url)  # type: ignore[misc]
        if "handle_text_or_binary_message" not in vars(socket):
            read = socket.handle_text_or_binary_message

            def tolerant(data: Any) -> None:
                try:
                    read(data)
                except MALFORMED as error:
                    self.unreadable(error)

            socket.handle_text_or_binary_message = tolerant
        return socket


class _Bybit(_Tolerant, ccxt.pro.bybit):  # type: ignore[misc]
    """Ccxt's client for Bybit."""

    def handle_ohlcv(self, _client: Any, message: dict[str, Any]) -> None:
        symbol = str(message["topic"]).rsplit(".", 1)[1]
        for one in message["data"]:
            if one["confirm"] is True:
                self.sink(_row(symbol, [one[name] for name in ("start", "open", "high", "low", "close", "volume")]))

    def handle_trades(self, _client: Any, message: dict[str, Any]) -> None:
        for one in message["data"]:
            direction = {"Buy": 1, "Sell": -1}[one["S"]]
            self.trade_sink((str(one["s"]), str(one["i"]), int(one["T"]), float(one["p"]), float(one["v"]), direction))


class _BinanceStreams(_Tolerant):
    """What both clients for Binance have in common."""

    def handle_ohlcv(self, _client: Any, message: dict[str, Any]) -> None:
        one = message["k"]
        if one["x"] is True:
            self.sink(_row(str(one["s"]), [one[name] for name in "tohlcv"]))

    def handle_trade(self, _client: Any, one: dict[str, Any]) -> None:
        direction = -1 if one["m"] else 1  # whether the buyer was there first
        self.trade_sink((str(one["s"]), str(one["a"]), int(one["T"]), float(one["p"]), float(one["q"]), direction))


class _Binance(_BinanceStreams, ccxt.pro.binance):  # type: ignore[misc]
    """Binance's spot."""


class _BinanceUsdm(_BinanceStreams, ccxt.pro.binanceusdm):  # type: ignore[misc]
    """Binance's contracts margined in the quote currency."""


CLIENTS: Final[dict[int, Callable[[dict[str, Any]], Any]]] = {1: _Binance, 2: _BinanceUsdm, 3: _Bybit, 4: _Bybit}


def _row(symbol: str, values: Sequence[Any]) -> Row:
    ts, *numbers = values
    opened, high, low, close, volume = (float(one) for one in numbers[:5])
    return symbol, int(ts), opened, high, low, close, volume


def _trade_row(symbol: str, one: dict[str, Any]) -> TradeRow:
    """Read a trade as ccxt tells it."""
    direction = {"buy": 1, "sell": -1}[one["side"]]
    return symbol, str(one["id"]), int(one["timestamp"]), float(one["price"]), float(one["amount"]), direction


def _chunks(items: list[T], most: int) -> list[list[T]]:
    return [items[at : at + most] for at in range(0, len(items), most)]


def client_of(market: VenueMarket, address: str | None = None) -> Any:
    """Ccxt's client for a market; `address`: of a server that speaks like the exchange."""
    kind = "spot" if market.market is Market.SPOT else "swap"
    options = {"defaultType": kind, "fetchCurrencies": False, "fetchMarkets": _types(market)}
    options["watchTradesForSymbols"] = {"name": "aggTrade"}  # of Binance: what it tells of the past too
    client = CLIENTS[market.id]({"enableRateLimit": address is None, "timeout": 10_000, "options": options})
    if address is not None:
        _point_at(client, market, address)
    return client


def _types(market: VenueMarket) -> dict[str, list[str]]:
    return {"types": [str(market.market)]}


def _point_at(client: Any, market: VenueMarket, address: str) -> None:
    api, socket = client.urls["api"], address.replace("http", "ws", 1)
    if market.exchange == "bybit":
        for name in ("spot", "futures", "v2", "public", "private"):
            api[name] = address
        for name in api["ws"]["public"]:
            api["ws"]["public"][name] = f"{socket}/v5/public/{name}"
        return
    api["public"], api["fapiPublic"] = f"{address}/api/v3", f"{address}/fapi/v1"
    api["ws"]["spot"], api["ws"]["linear"] = f"{socket}/stream/ws", f"{socket}/ws"


class Feed:
    """Closed minutes of one market. `clock` gives the venue's time, ms."""

    def __init__(self, market: VenueMarket, clock: Callable[[], int], address: str | None = None) -> None:
        self.market, self.clock = market, clock
        self.client = client_of(market, address)
        self.client.sink = lambda row: self._told.put_nowait(self._receipt(row, Source.STREAM))
        self.client.trade_sink = lambda row: self._told.put_nowait(self._trade(row, Source.STREAM))
        self.client.unreadable = self._unreadable
        self.heard = 0  # closed minutes of streams that were handed on
        self.unread = 0  # messages that could not be read
        self._told: asyncio.Queue[Receipt | PublicTrade] = asyncio.Queue()
        self._names: dict[str, str] = {}  # ccxt's symbol by the venue's

    async def close(self) -> None:
        """Close every connection."""
        await self.client.close()

    # Questions

    async def listed(self) -> list[ListedInstrument]:
        """Every instrument of the market, tradable or not, sorted by symbol. Raises FeedUnreachable."""
        markets = await self._ask(self.client.load_markets, True)
        wanted = "spot" if self.market.market is Market.SPOT else "linear"
        chosen = [
            one
            for one in markets.values()
            if one.get(wanted) and not one.get("expiry") and one["precision"]["price"] and one["precision"]["amount"]
        ]
        self._names = {one["id"]: one["symbol"] for one in chosen}
        return sorted((self._listed(one) for one in chosen), key=lambda one: one.instrument.symbol)

    def _listed(self, one: dict[str, Any]) -> ListedInstrument:
        instrument = as_instrument(one, self.market.market)
        return ListedInstrument(instrument, str(one["base"]), str(one["quote"]), one.get("active") is not False)

    async def turnovers(self) -> dict[str, Decimal]:
        """Quote currency traded in the last 24 hours, by symbol. Raises FeedUnreachable."""
        known = {name: symbol for symbol, name in self._names.items()}
        tickers = await self._ask(self.client.fetch_tickers)
        return {
            known[name]: Decimal(str(one.get("quoteVolume") or 0)) for name, one in tickers.items() if name in known
        }

    async def minutes(self, symbol: str, first: int, after: int) -> list[Receipt]:
        """Closed minutes that open in [first, after), at most a page of them from `first` on, oldest first.

        Raises FeedUnreachable, and NotTraded for a symbol that the venue does not know.
        """
        limit = min((after - first) // MINUTE, PAGE)
        name, until = self._name(symbol), {"until": first + limit * MINUTE - 1}
        rows = await self._ask(self.client.fetch_ohlcv, name, "1m", since=first, limit=limit, params=until)
        now = self.clock()
        try:
            read = [_row(symbol, one) for one in rows]
        except MALFORMED as error:
            raise FeedUnreachable(
                f"{self.market}: its minutes of {symbol} cannot be read ({cut(str(error))})."
            ) from None
        return [self._receipt(one, Source.REST) for one in read if first <= one[1] < after and one[1] + MINUTE <= now]

    async def trades(self, symbol: str, since: int) -> tuple[list[PublicTrade], bool]:
        """A page of trades from `since` (ms) on, oldest first, and whether all of them until now are in it.

        Bybit tells its newest ones alone: then none before the first of them can be had. Raises FeedUnreachable and
        NotTraded.
        """
        binance = self.market.exchange == "binance"
        limit = TRADES if binance or self.market.market is Market.LINEAR else SPOT_TRADES
        asked = {"since": since} if binance else {}
        rows = await self._ask(self.client.fetch_trades, self._name(symbol), limit=limit, **asked)
        try:
            read = [_trade_row(symbol, one) for one in rows]
        except MALFORMED as error:
            raise FeedUnreachable(
                f"{self.market}: its trades of {symbol} cannot be read ({cut(str(error))})."
            ) from None
        # Binance is asked for an hour at most at once.
        return [self._trade(one, Source.REST) for one in read], len(read) < limit and self.clock() - since < HOUR

    async def funding(self, symbol: str, since: int) -> list[tuple[int, float]]:
        """Settlements from `since` (ms) on, oldest first, at most a page. Raises FeedUnreachable or NotTraded."""
        asked = {"since": since, "limit": FUNDING_PAGE, "params": {"until": since + FUNDING_SPAN - 1}}
        rows = await self._ask(self.client.fetch_funding_rate_history, self._name(symbol), **asked)
        rates = {(int(one["timestamp"]) + MINUTE // 2) // MINUTE * MINUTE: float(one["fundingRate"]) for one in rows}
        return sorted(rates.items())

    async def venue_time(self) -> int:
        """What the venue's own clock shows, ms. Raises FeedUnreachable."""
        return int(await self._ask(self.client.fetch_time))

    def _name(self, symbol: str) -> str:
        if symbol not in self._names:
            raise NotTraded(f"{self.market}: {symbol} is not listed.")
        return self._names[symbol]

    async def _ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Ask the venue, again where the network failed."""
        again = AsyncRetrying(
            retry=retry_if_exception_type(ccxt.NetworkError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(0.1, max=2),
            reraise=True,
        )
        try:
            return await again(call, *arguments, **named)
        except ccxt.OnMaintenance as error:
            raise FeedUnreachable(f"{self.market}: the venue is in maintenance ({cut(str(error))}).") from None
        except ccxt.BadSymbol as error:
            raise NotTraded(f"{self.market}: {cut(str(error))}") from None
        except ccxt.BaseError as error:
            raise FeedUnreachable(
                f"{self.market}: the venue does not answer ({type(error).__name__} {cut(str(error))})."
            ) from None

    # Streams

    async def listen(
        self,
        symbols: list[str],
        sink: Callable[[Receipt], None],
        traded: Sequence[str] = (),
        trade_sink: Callable[[PublicTrade], None] = lambda _: None,
    ) -> None:
        """Hand on every closed minute that the streams tell of these symbols, and every trade of those `traded`.

        Raises FeedLost when a stream ends.
        """
        lines = [asyncio.create_task(self._hand_on(sink, trade_sink))]
        lines += [asyncio.create_task(self._line(chunk)) for chunk in _chunks(symbols, STREAMS_A_REQUEST)]
        lines += [asyncio.create_task(self._trade_line(chunk)) for chunk in _chunks(list(traded), TRADES_A_REQUEST)]
        try:
            await asyncio.gather(*lines)
        except (ccxt.BaseError, OSError) as error:
            raise FeedLost(f"{self.market}: {type(error).__name__} {cut(str(error))}") from None
        finally:
            for line in lines:
                line.cancel()
            await asyncio.gather(*lines, return_exceptions=True)
            await self._forget_lines()

    async def _line(self, symbols: list[str]) -> None:
        """Hold one subscription; ccxt returns only when it ends, because the candles go to `sink` instead."""
        pairs = [[self._name(one), "1m"] for one in symbols]
        if self.market.exchange == "binance":
            await self.client.watch_ohlcv_for_symbols(pairs)
        else:
            chunks = _chunks(pairs, TOPICS_A_REQUEST)
            await asyncio.gather(*(self.client.watch_ohlcv_for_symbols(one) for one in chunks))

    async def _trade_line(self, symbols: list[str]) -> None:
        await self.client.watch_trades_for_symbols([self._name(one) for one in symbols])

    async def _hand_on(self, sink: Callable[[Receipt], None], trade_sink: Callable[[PublicTrade], None]) -> None:
        while True:
            one = await self._told.get()
            if isinstance(one, Receipt):
                sink(one)
                self.heard += 1
            else:
                trade_sink(one)

    def _unreadable(self, error: Exception) -> None:
        """Count a message that cannot be read; the minutes that it may have told are missed, and asked for."""
        self.unread += 1
        if self.unread == 1 or self.unread % UNREAD_TOLD == 0:
            log.error(
                "stream_unreadable",
                market=str(self.market),
                error=f"{type(error).__name__} {cut(str(error))}",
                messages=self.unread,
            )

    async def _forget_lines(self) -> None:
        """Close the sockets, so that the next subscription is sent again."""
        sockets, self.client.clients = dict(self.client.clients or {}), {}
        for name in ("streamBySubscriptionsHash", "numSubscriptionsByStream"):
            if name in self.client.options:
                self.client.options[name] = self.client.create_safe_dictionary()
        for one in sockets.values():
            await one.close()

    def _trade(self, row: TradeRow, source: Source) -> PublicTrade:
        return PublicTrade(self.market.id, *row, self.clock(), source)

    def _receipt(self, row: Row, source: Source) -> Receipt:
        return Receipt.of(self.market.id, row[0], row[1:], self.clock(), source)
