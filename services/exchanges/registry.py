"""Exchanges by name, as `bot: {exchange: ...}` has it: the one place that knows an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from bot.errors import Misconfigured, shown

if TYPE_CHECKING:
    from bot.instrument import Market
    from bot.ports import Gateway

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


def factory_of(exchange: str) -> Factory:
    """Find what builds gateways to an exchange. Raises Misconfigured for a name that nobody knows."""
    if exchange not in EXCHANGES:
        raise Misconfigured(f"bot.exchange is {shown(exchange)}; choose one of {', '.join(sorted(EXCHANGES))}.")
    return EXCHANGES[exchange]
