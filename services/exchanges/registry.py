"""Exchanges by name, as `bot: {exchange: ...}` has it: the one place that knows an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from bot.errors import Misconfigured, shown

if TYPE_CHECKING:
    from bot.instrument import Market
    from bot.ports import Gateway, KeyRights

BYBIT = "bybit"


class Factory(Protocol):
    """Builds a gateway to one account."""

    def __call__(
        self,
        *,
        key: str,
        secret: str,
        market: Market,
        environment: str = "live",
        address: str | None = None,
        rate: float = 10.0,
        large_positions: bool = False,
    ) -> Gateway:
        """`environment`: live, demo or testnet; `address`: base address of a server that speaks like the exchange.

        `rate`: requests a second; `large_positions`: a position may be larger than one market order closes.
        """
        ...


def _bybit(**options: Any) -> Gateway:
    from services.exchanges.bybit.gateway import Bybit  # noqa: PLC0415, ccxt takes a second to load

    return Bybit(**options)


EXCHANGES: dict[str, Factory] = {BYBIT: _bybit}


class AccountReader(Protocol):
    """Reads an account by a key that may only read. Raises Unreachable, or NotPermitted for a key that will not do."""

    async def positions(self) -> dict[str, float]:
        """Signed quantity by symbol, without flat ones."""
        ...

    async def equity(self) -> float:
        """Return what the settlement coin of the account is worth with unrealised profit."""
        ...

    async def key_rights(self) -> KeyRights | None:
        """Return what the key may do; None where the venue does not say."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


def _bybit_reader(**options: Any) -> AccountReader:
    from services.exchanges.bybit.reader import BybitReader  # noqa: PLC0415, which loads nothing that trades

    return BybitReader(**options)


def reader_of(exchange: str, *, key: str, secret: str, environment: str, address: str | None) -> AccountReader:
    """Build what reads an account. Raises Misconfigured for an exchange that nobody knows."""
    if exchange != BYBIT:
        raise Misconfigured(f"bot.exchange is {shown(exchange)}, whose accounts the watchdog cannot read.")
    return _bybit_reader(key=key, secret=secret, environment=environment, address=address)


def factory_of(exchange: str) -> Factory:
    """Find what builds gateways to an exchange. Raises Misconfigured for a name that nobody knows."""
    if exchange not in EXCHANGES:
        raise Misconfigured(f"bot.exchange is {shown(exchange)}; choose one of {', '.join(sorted(EXCHANGES))}.")
    return EXCHANGES[exchange]
