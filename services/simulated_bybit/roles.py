"""What checks, stops and executions by others need of a symbol's book and of the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.instrument import Instrument
    from services.simulated_bybit.records import Happened, VenueOrder
    from services.simulated_bybit.unverified import Unverified


class SymbolBook(Protocol):
    """Orders and position of one symbol."""

    instrument: Instrument
    live: list[VenueOrder]
    here: float  # price, ticks
    numbers: Iterator[int]  # of orders
    unverified: Unverified

    @property
    def pair(self) -> Any:
        """The account's records for this symbol."""
        ...

    @property
    def position(self) -> int:
        """Lots held, signed."""
        ...

    @property
    def worth(self) -> float:
        """What the symbol adds to the account's equity, quote currency."""
        ...

    def add(self, order: VenueOrder) -> None:
        """Take an order in."""
        ...

    def moved(self, order: VenueOrder, price: int, lots: int, ts: int) -> None:
        """Amend an order's price and its whole quantity."""
        ...

    def remove(self, order: VenueOrder, status: str, reason: str = "EC_NoError", cancel_type: str = "UNKNOWN") -> None:
        """Let an order rest no more."""
        ...

    def execute(
        self, side: int, lots: int, ts: int, *, kind: str, created_by: str, charged: bool, as_order: bool
    ) -> list[Happened]:
        """Execute at the present price; what happened."""
        ...


class TradingAccount(Protocol):
    """The account over the books of all symbols."""

    instruments: dict[str, Instrument]
    leverage: float
    unverified: Unverified
    closed: set[str]  # symbols that take no new positions any more
    client_order_ids: dict[str, VenueOrder]  # by client order id, for ever
    duplicates: int  # orders refused because their client order id was taken
    now: int  # ms

    @property
    def equity(self) -> float:
        """Balance with unrealised profit."""
        ...

    def book(self, symbol: str) -> SymbolBook:
        """The book of a symbol that is traded here."""
        ...

    def tell(self, happened: list[Happened]) -> None:
        """Remember what happened, and keep it for whoever is to be told."""
        ...
