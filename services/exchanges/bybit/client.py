"""Ccxt's client with its readings taken out: the venue's codes, its streams' messages and one clock are handed on.

Ccxt knows addresses, signatures and sockets; what an answer means is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ccxt
import ccxt.pro

from services.exchanges.bybit.errors import STATUSES

# What translating an answer raises when the answer is not what was agreed on.
MALFORMED = (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError)


class Said(Exception):
    """The venue answered with a code other than 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Unreadable(Exception):
    """The venue answered with a code that is no number."""


class Client(ccxt.pro.bybit):  # type: ignore[misc]
    """Ccxt's client for Bybit."""

    ahead = 0  # ms that this machine's clock is ahead of the venue's
    sink: Callable[[dict[str, Any]], None]
    unreadable_heard: Callable[[str, Exception | None], None]  # address
    subscribed: Callable[[str], None]  # address

    def milliseconds(self) -> int:
        """The venue's time, by which requests and the private stream's sign-in alike are signed."""
        return int(ccxt.Exchange.milliseconds()) - self.ahead

    def handle_errors(self, *arguments: Any) -> None:
        """Hand the venue's code on instead of ccxt's reading of it; without one, the HTTP statuses that mean something.

        ccxt passes status, reason, address, method, headers, body, parsed body and what was sent.
        """
        status, reason, response = arguments[0], arguments[1], arguments[6]
        if isinstance(response, dict) and "retCode" in response:
            try:
                code = int(response["retCode"])
            except MALFORMED:
                raise Unreadable(f"retCode {str(response['retCode'])[:40]!r}") from None
            if code != 0:
                raise Said(code, str(response.get("retMsg", "")))
        if status in STATUSES:
            raise Said(status, str(reason))

    def client(self, url: str) -> Any:
        """A socket that an unreadable message does not end: ccxt's would never read again."""
        socket = super().client(url)
        if "handle_text_or_binary_message" not in vars(socket):
            read = socket.handle_text_or_binary_message

            def tolerant(data: Any) -> None:
                try:
                    read(data)
                except MALFORMED as error:
                    self.unreadable_heard(url, error)

            socket.handle_text_or_binary_message = tolerant
        return socket

    def handle_message(self, client: Any, message: Any) -> None:
        """Hand topics on; everything else (sign-in, pings) is ccxt's business."""
        if not isinstance(message, dict):
            self.unreadable_heard(client.url, None)
            return
        if "topic" in message:
            self.sink(message)
            return
        if message.get("success") is False:  # ccxt stumbles over a refusal without words
            client.reject(ccxt.ExchangeError(f"{message.get('op')} refused: {message.get('ret_msg')}"))
            return
        if message.get("op") == "subscribe" and message.get("success"):
            self.subscribed(client.url)
        super().handle_message(client, message)

    def give_up(self, url: str) -> None:
        """End what waits for messages of a socket, as when the line is lost."""
        socket = (self.clients or {}).get(url)
        if socket is not None:
            socket.reject(ccxt.NetworkError("the socket was given up"))

    async def forget(self, url: str) -> None:
        """Close a socket and forget what was sent over it: a sign-in that was refused is otherwise never repeated."""
        socket = (self.clients or {}).pop(url, None)
        if socket is not None:
            await socket.close()
