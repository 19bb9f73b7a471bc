"""Reads an account by a key that may only read: positions, equity and rights, for whoever watches a bot.

Light on purpose: neither ccxt nor anything that trades is loaded.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import defaultdict
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bot.ports import KeyRights, NotPermitted, Unreachable
from services.exchanges.bybit.key_rights import key_rights

ADDRESSES = {
    "live": "https://api.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
    "demo": "https://api-demo.bybit.com",
}
COIN = "USDT"
SECONDS = 4.0  # for an answer
WINDOW = "5000"  # ms that a request may be on its way
TIME_CODE, NOT_IN_DEMO = 10002, 10032
KEY_CODES = (10003, 10004, 10005, 10007, 10008, 10009, 10010, 10024, 33004, 401)  # a person has to act
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)


class BybitReader:
    """Questions about one account."""

    def __init__(self, *, key: str, secret: str, environment: str, address: str | None) -> None:
        self._key, self._secret = key, secret
        self.address = address or ADDRESSES[environment]
        self._ahead = 0  # ms that this clock is ahead of the exchange's
        self._session: aiohttp.ClientSession | None = None

    async def positions(self) -> dict[str, float]:
        """Signed quantity by symbol, without flat ones."""
        held: dict[str, float] = defaultdict(float)
        cursor = ""
        while True:
            asked = {"category": "linear", "settleCoin": COIN, "limit": "200"} | ({"cursor": cursor} if cursor else {})
            answer = await self._ask("position/list", asked)
            try:
                for row in answer["list"]:
                    held[row["symbol"]] += _signed(row)
                following = str(answer.get("nextPageCursor") or "")
                if not following or not answer["list"]:
                    return {symbol: quantity for symbol, quantity in held.items() if quantity}
            except MALFORMED:
                raise _unreadable("position/list") from None
            if following == cursor:
                raise Unreachable("the venue gave the same page of positions twice")
            cursor = following

    async def equity(self) -> float:
        """Return what the settlement coin of the account is worth with unrealised profit."""
        answer = await self._ask("account/wallet-balance", {"accountType": "UNIFIED", "coin": COIN})
        try:
            coins = answer["list"][0]["coin"]
            return next((float(one["equity"]) for one in coins if one["coin"] == COIN), 0.0)
        except MALFORMED:
            raise _unreadable("account/wallet-balance") from None

    async def key_rights(self) -> KeyRights | None:
        """Return what the key may do; None where the venue does not say."""
        try:
            answer = await self._ask("user/query-api", {})
        except _Said as said:
            if said.code == NOT_IN_DEMO:
                return None
            raise
        try:
            linear = key_rights(answer, "ContractTrade")
            return linear if linear.trade else key_rights(answer, "Spot")
        except MALFORMED:
            raise _unreadable("user/query-api") from None

    async def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        """Ask; once more where the clocks differ. Raises Unreachable or NotPermitted."""
        body = await self._get(path, query)
        if body.get("retCode") == TIME_CODE and isinstance(body.get("time"), int):
            self._ahead = int(time.time() * 1000) - body["time"]
            body = await self._get(path, query)
        code, result = body.get("retCode"), body.get("result")
        if code != 0:
            said = str(body.get("retMsg"))[:200]
            if code in KEY_CODES:
                raise NotPermitted(f"the exchange does not take the watching key: {said} (code {code}).")
            raise _Said(code, said)
        if not isinstance(result, dict):
            raise _unreadable(path)
        return result

    async def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
        text, stamp = urlencode(query), str(int(time.time() * 1000) - self._ahead)
        signed = hmac.new(self._secret.encode(), f"{stamp}{self._key}{WINDOW}{text}".encode(), hashlib.sha256)
        headers = {"X-BAPI-API-KEY": self._key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": WINDOW}
        headers["X-BAPI-SIGN"] = signed.hexdigest()
        try:
            async with self._session.get(f"{self.address}/v5/{path}?{text}", headers=headers) as answer:
                found = await answer.json(content_type=None)
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unreachable(f"the exchange did not answer {path}: {type(error).__name__}") from None
        if not isinstance(found, dict) or "retCode" not in found:
            raise Unreachable(f"the exchange did not answer {path}: HTTP {status}")
        return found


class _Said(Unreachable):
    """The exchange answered with a code that asks for nothing but patience."""

    def __init__(self, code: Any, message: str) -> None:
        super().__init__(f"the exchange refused: {message} (code {code})")
        self.code = code


def _signed(row: dict[str, Any]) -> float:
    quantity = float(row["size"] or 0)
    return -quantity if row["side"] == "Sell" else quantity


def _unreadable(path: str) -> Unreachable:
    return Unreachable(f"the answer of {path} cannot be read")
