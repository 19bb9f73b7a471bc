"""The Gateway port over Bybit's v5 interface: questions, changes and streams of one account.

Live, demo, testnet and the project's own venue are the same adapter with another address. Whatever the venue says is
translated here once (`words`, `codes`); signing, addresses and sockets are ccxt's (`client`).
"""

from __future__ import annotations

from services.exchanges.bybit.changing import Changing
from services.exchanges.bybit.streams import Streams


class Bybit(Changing, Streams):
    """One account at Bybit, or at what speaks like it."""
