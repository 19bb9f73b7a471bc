"""One request to Bybit: when it may begin, what its answer means, whether it may be sent again.

A question is repeated. A change is sent once, and says whether it was taken, was not, or may have been.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import ccxt
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from bot.errors import Misconfigured
from bot.instrument import Instrument, Market
from bot.ports import Gone, NotPermitted, Traffic, Unanswered, Unreachable
from services.exchanges.bybit import codec, errors
from services.exchanges.bybit.client import MALFORMED, Client, Said, Unreadable
from services.exchanges.bybit.errors import RefusedByCode, Remedy
from services.exchanges.bybit.limiter import Limiter, Priority

ENVIRONMENTS = ("live", "demo", "testnet")
ATTEMPTS = 5
CLOCK_MARGIN_MS = 500  # a request from the future is refused sooner than one from the past

T = TypeVar("T")

OWN_PACE_SECONDS = 1.0  # without a request, after the venue has said that they were too many
VENUE_LOAD_SECONDS = 0.3  # after it has said that it is busy itself: a stop has two seconds to rest


class Taken(Exception):
    """An order with this client order id exists already, alive or not."""


class Connection:
    """Requests to one account."""

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
        large_positions: bool = False,
    ) -> None:
        """`large_positions`: a position may be larger than one market order closes, covered by several stops."""
        self.category = str(market.value)
        self.market = market
        self.large_positions = large_positions
        self.client = Client(
            {"apiKey": key, "secret": secret, "enableRateLimit": False, "timeout": int(timeout * 1000)}
        )
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
        self.errors: dict[int, int] = {}
        self.changes: Counter[tuple[str, str]] = Counter()  # sent, by what and with what outcome

    def _point_at(self, address: str) -> None:
        api, socket = self.client.urls["api"], address.replace("http", "ws", 1)
        for name in ("spot", "futures", "v2", "public", "private"):
            api[name] = address
        for name in api["ws"]["public"]:
            api["ws"]["public"][name] = f"{socket}/v5/public/{name}"
        api["ws"]["private"]["contract"] = f"{socket}/v5/private"

    def traffic(self) -> Traffic:
        """What was sent so far: errors by code, changes by request and outcome."""
        errors = {str(code): count for code, count in self.errors.items()}
        return Traffic(errors, {f"{action} {outcome}": count for (action, outcome), count in self.changes.items()})

    async def close(self) -> None:
        """Close every connection."""
        await self.client.close()

    # Questions

    async def ask(
        self,
        method: str,
        parameters: dict[str, Any],
        read: Callable[[dict[str, Any]], T],
        priority: Priority = Priority.ASK,
    ) -> T:
        """Ask, and read the answer; both may be repeated. Raises Unreachable, NotPermitted or Refused."""
        answer: T = await self._ask(method, parameters, read, priority)  # the decorator below knows no types
        return answer

    @retry(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(0.1, max=5),
        reraise=True,
    )
    async def _ask(
        self, method: str, parameters: dict[str, Any], read: Callable[[Any], Any], priority: Priority
    ) -> Any:
        await self.limiter.turn(priority)
        try:
            answer = await getattr(self.client, method)(parameters)
        except Said as said:
            await self._mind(said)
            raise self._error(said) from None
        except Unreadable as error:
            raise unreadable(method, error) from None
        except ccxt.BaseError as error:
            raise Unreachable(f"the venue did not answer {named(method)}: {type(error).__name__}") from None
        self.limiter.opened()
        return self.read(method, lambda: read(dict(answer["result"])))

    async def where_there_is(self, question: Awaitable[T]) -> T | None:
        """Await what demo trading may not answer; None then."""
        try:
            return await question
        except RefusedByCode as refusal:
            if refusal.code != errors.NOT_IN_DEMO:
                raise
            return None

    def read(self, method: str, read: Callable[[], T]) -> T:
        """Read what was kept of an answer. Raises Unreachable when it is not what was agreed on."""
        try:
            return read()
        except MALFORMED as error:
            raise unreadable(method, error) from None

    async def ask_all(
        self, method: str, parameters: dict[str, Any], read: Callable[[dict[str, Any]], T | None]
    ) -> list[T]:
        """Every page of a list, its rows read one by one, without those that read as None; or nothing at all."""

        def read_page(answer: dict[str, Any]) -> tuple[list[T | None], str]:
            rows, cursor = codec.page(answer)
            return [read(row) for row in rows], cursor

        found: list[T] = []
        cursor, seen = "", set()
        while True:
            request = {**parameters, **({"cursor": cursor} if cursor else {})}
            rows, cursor = await self.ask(method, request, read_page)
            found += [row for row in rows if row is not None]
            if not cursor or not rows:
                return found
            if cursor in seen:
                raise Unreachable(f"the venue gave the same page of {named(method)} twice")
            seen.add(cursor)

    async def _mind(self, said: Said) -> None:
        """Count a code, and heed those that are about the bot's manners."""
        self.errors[said.code] = self.errors.get(said.code, 0) + 1
        what = errors.remedy(said.code, said.message)
        if what is Remedy.SHUT:
            self.limiter.shut()
        elif said.code in errors.TOO_FAST:
            self.limiter.pause(OWN_PACE_SECONDS if what is Remedy.SLOWER else VENUE_LOAD_SECONDS)
        elif what is Remedy.CLOCK:
            await self.measure_clock()

    def _error(self, said: Said) -> Exception:
        what = errors.remedy(said.code, said.message)
        if what in (Remedy.AGAIN, Remedy.SLOWER, Remedy.CLOCK, Remedy.SHUT):
            return Unreachable(f"the venue asks for patience ({said.code}): {said.message}")
        if what is Remedy.PERSON:
            return NotPermitted(f"{errors.SENTENCES[said.code]} (code {said.code}).")
        if what is Remedy.GONE:
            return Gone(f"the order is no longer there ({said.code})")
        return RefusedByCode(said.code, said.message)

    # Changes

    def _count(self, method: str, outcome: str) -> None:
        self.changes[method.removeprefix("privatePostV5"), outcome] += 1

    async def change(self, method: str, parameters: dict[str, Any], priority: Priority) -> None:
        """Send a change once. Raises Unanswered when its outcome is unknown, Unreachable when nothing was done."""
        await self.limiter.turn(priority)
        try:
            answer = await getattr(self.client, method)(parameters)
        except Said as said:
            await self._take_no(method, said)
        except (ccxt.BaseError, Unreadable) as error:
            self._count(method, "unanswered")
            raise Unanswered(f"{named(method)} was sent and not answered: {type(error).__name__}") from None
        else:
            self._take_yes(method, answer)

    async def _take_no(self, method: str, said: Said) -> None:
        """Raise what a code means for a change; return where it is as it should be."""
        what = errors.remedy(said.code, said.message)
        self._count(method, what.value)
        await self._mind(said)
        if what is Remedy.DONE:
            return
        if what is Remedy.TAKEN:
            raise Taken
        if what is Remedy.AGAIN:
            raise Unanswered(f"{named(method)} was sent, and the venue does not know its outcome ({said.code})")
        raise self._error(said)

    def _take_yes(self, method: str, answer: Any) -> None:
        """Count a change as taken if the venue said so in words that can be read."""
        try:
            result = dict(answer["result"])
            if method.startswith("privatePostV5Order"):
                str(result["orderId"])
        except MALFORMED as error:
            self._count(method, "unanswered")
            raise Unanswered(f"{named(method)} was sent, and the answer cannot be read: {told(error)}") from None
        self.limiter.opened()
        self._count(method, "taken")

    # Clock

    async def now(self) -> int:
        """The venue's time, ms."""
        return await self.ask("publicGetV5MarketTime", {}, lambda answer: int(answer["timeNano"]) // 1_000_000)

    async def measure_clock(self) -> int:
        """Measure how far this clock is ahead of the venue's (median of five, ms), and sign by the venue's."""
        offsets = []
        for _ in range(5):
            before = ccxt.Exchange.milliseconds()
            there = await self.now()
            offsets.append((before + ccxt.Exchange.milliseconds()) / 2 - there)
        offset = round(statistics.median(offsets))
        self.client.ahead = offset + CLOCK_MARGIN_MS if abs(offset) > CLOCK_MARGIN_MS else offset
        return offset


def named(method: str) -> str:
    """A request in words: `privateGetV5PositionList` is `position list`."""
    return " ".join(re.findall("[A-Z][a-z]+", method.partition("V5")[2])).lower()


def told(error: Exception) -> str:
    """What is wrong with an answer, short enough for a sentence."""
    return f"{type(error).__name__} {str(error).splitlines()[0][:80] if str(error) else ''}".strip()


def unreadable(method: str, error: Exception) -> Unreachable:
    """An answer that is not what was agreed on is no answer."""
    return Unreachable(f"the venue's answer to {named(method)} cannot be read: {told(error)}")
