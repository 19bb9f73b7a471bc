"""A small Bot API of our own: takes what aiogram sends, hands it updates, and fails as Telegram does."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from html.parser import HTMLParser

from aiohttp import web

TOKEN = "123456:ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"


class Tags(HTMLParser):
    """Whether HTML is such as Telegram reads: every tag is known and closed."""

    def __init__(self):
        super().__init__()
        self.open, self.fine = [], True

    def handle_starttag(self, tag, _attributes):
        self.fine &= tag in ("b", "i", "pre", "code")
        self.open.append(tag)

    def handle_endtag(self, tag):
        self.fine &= bool(self.open) and self.open.pop() == tag


def readable(text):
    tags = Tags()
    tags.feed(text)
    return tags.fine and not tags.open


class FakeTelegram:
    """Sent messages stand in `sent`, edits in `edited`, answers to buttons in `answered`."""

    def __init__(self):
        self.sent, self.edited, self.answered, self.photos = [], [], [], []
        self.failures = []  # answers instead of the next calls of sendMessage: (status, body)
        self.swallowed = 0  # next calls of sendMessage that are taken, and the connection ends without an answer
        self.closing = False
        self._numbers, self._updates = itertools.count(1), []
        self._came = asyncio.Event()

    async def __aenter__(self):
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", f"/bot{TOKEN}/{{method}}", self._called)
        app.router.add_route("*", "/{rest:.*}", self._unknown)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        self.address = f"http://127.0.0.1:{self._port}"
        return self

    async def leave(self):
        """Be reached by nobody: connections end, and none can be made."""
        await self._site.stop()
        for connection in self._runner.server.connections:
            connection.transport.abort()

    async def come_back(self):
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    async def __aexit__(self, *_):
        self.closing = True
        self._came.set()
        await self._runner.cleanup()

    # What users do

    def writes(self, user, text, *, chat=None, name="Ann", language="en"):
        self._push(message={"text": text, **self._message(user, chat or user, name, language)})

    def presses(self, user, data, message=1, *, chat=None):
        origin = {**self._message(user, chat or user, "Ann", "en"), "message_id": message, "text": "x"}
        who = {"id": user, "is_bot": False, "first_name": "Ann"}
        query = {"id": str(next(self._numbers)), "from": who, "chat_instance": "1", "data": data, "message": origin}
        self._push(callback_query=query)

    def _message(self, user, chat, name, language):
        who = {"id": user, "is_bot": False, "first_name": name, "language_code": language}
        kind = "private" if chat == user else "group"
        where = {"id": chat, "type": kind, "first_name": name, "title": "g"}
        return {"message_id": next(self._numbers), "date": int(time.time()), "from": who, "chat": where}

    def _push(self, **update):
        self._updates.append({"update_id": next(self._numbers), **update})
        self._came.set()

    # What Telegram answers

    async def _unknown(self, _request):
        return _refused(401, "Unauthorized")

    async def _called(self, request):
        given = {**request.query, **dict(await request.post())}
        method = request.match_info["method"].lower()
        answer = await getattr(self, f"_{method}", self._fine)(given)
        if method == "sendmessage" and self.swallowed:
            self.swallowed -= 1
            request.transport.abort()
        return answer

    async def _fine(self, _given):
        return _done(True)

    async def _getme(self, _given):
        return _done({"id": 123456, "is_bot": True, "first_name": "trader", "username": "trader_bot"})

    async def _getupdates(self, given):
        offset, deadline = int(given.get("offset", 0)), time.monotonic() + float(given.get("timeout", 0))
        self._updates = [one for one in self._updates if one["update_id"] >= offset]
        while not self._updates and not self.closing and time.monotonic() < deadline:
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), min(deadline - time.monotonic(), 0.5))
            except TimeoutError:
                continue
            if self.closing:
                break
        return _done(self._updates)

    async def _sendmessage(self, given):
        if self.failures:
            status, body = self.failures.pop(0)
            return web.json_response(body, status=status)
        if (refusal := _unfit(given["text"], given)) is not None:
            return refusal
        return self._kept(self.sent, given)

    async def _sendphoto(self, given):
        photo = given["photo"]
        data = photo.file.read() if hasattr(photo, "file") else photo
        if isinstance(photo, str) and photo.startswith("attach://"):
            data = given[photo.removeprefix("attach://")].file.read()
        self.photos.append(data)
        given = {**given, "text": given.get("caption", "")}
        return self._kept(self.sent, given)

    async def _editmessagetext(self, given):
        if (refusal := _unfit(given["text"], given)) is not None:
            return refusal
        return self._kept(self.edited, given, int(given["message_id"]))

    async def _answercallbackquery(self, given):
        self.answered.append(given)
        return _done(True)

    def _kept(self, place, given, number=None):
        markup = json.loads(given["reply_markup"]) if "reply_markup" in given else {"inline_keyboard": []}
        buttons = {one["text"]: one["callback_data"] for row in markup["inline_keyboard"] for one in row}
        number = next(self._numbers) if number is None else number
        plain = "parse_mode" not in given
        silent = given.get("disable_notification") in ("true", "True", "1")
        place.append({"chat": int(given["chat_id"]), "text": given["text"], "buttons": buttons, "number": number,
                      "plain": plain, "silent": silent, "at": time.monotonic()})  # fmt: skip
        chat = {"id": int(given["chat_id"]), "type": "private", "first_name": "Ann"}
        return _done({"message_id": number, "date": int(time.time()), "chat": chat, "text": given["text"]})


def _unfit(text, given):
    if len(text) > 4096:
        return _refused(400, "Bad Request: message is too long")
    if not text.strip():
        return _refused(400, "Bad Request: message text is empty")
    if given.get("parse_mode") == "HTML" and not readable(text):
        return _refused(400, "Bad Request: can't parse entities: unexpected end tag")
    return None


def _done(result):
    return web.json_response({"ok": True, "result": result})


def _refused(status, said):
    return web.json_response({"ok": False, "error_code": status, "description": said}, status=status)
