"""The control interface as whoever else is on this machine meets it: odd requests, odd answers, another host's name."""

from __future__ import annotations

import asyncio
import http.server
import io
import json
import os
import stat
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager

import pytest
import structlog
from prometheus_client import CollectorRegistry

from bot.errors import Misconfigured
from bot.sources import ROOT
from services.control.client import ask
from services.control.loopback import LARGEST_BODY
from services.control.server import ControlServer
from services.logs import configure

STANDING = {"streams": {"public": True}, "pairs": [{"recovered": True}]}
ROUTES = ("/health", "/ready", "/metrics", "/status", "/command", "/nowhere")


@asynccontextmanager
async def opened(file, status=None, act=None):
    async def status_now():
        return STANDING

    async def obeyed(said):
        return f"{said.kind} {said.pair} {said.force}"

    server = ControlServer(file, status or status_now, act or obeyed, CollectorRegistry())
    port = await server.start()
    try:
        yield server, port
    finally:
        await server.stop()


async def said(port, request):
    """Send these bytes; returns status, and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    body = await reader.readexactly(length)
    writer.close()
    return int(head.split()[1]), body.decode()


def request(path="/command", body=b"{}", token="", host=b"127.0.0.1", method="POST", headers=()):
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: " + host, b"Authorization: Bearer " + token.encode()]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), *headers, b"", b""]) + body


def answered(tmp_path, made, status=None, act=None):
    """What the bot answers to a request made with its token, and what it logs."""
    stream, previous = io.StringIO(), structlog.get_config()
    configure([], stream=stream, rarely=False)

    async def main():
        async with opened(tmp_path / "x.json", status, act) as (server, port):
            return await said(port, made(server.token))

    try:
        return *asyncio.run(main()), stream.getvalue()
    finally:
        structlog.configure(**previous)


def one_line(body):
    assert "\n" not in body
    return json.loads(body)["error"]


BODIES = {
    "nothing": b"",
    "no JSON": b"pause",
    "half": b'{"command": "pau',
    "a list": b'["pause"]',
    "a text": b'"pause"',
    "null": b"null",
    "no word": b'{"pair": "BTCUSDT"}',
    "word of another type": b'{"command": 1}',
    "word of many": b'{"command": ["pause"]}',
    "word of two lines": b'{"command": "pause\\nstop"}',
    "pair of another type": b'{"command": "pause", "pair": {}}',
    "force of another type": b'{"command": "resume", "force": "no"}',
    "no UTF-8": b"\xff\xfe\x00",
    "deep": b"[" * 60_000,
    "large": b'{"command": "' + b"a" * LARGEST_BODY + b'"}',
}


@pytest.mark.parametrize("name", list(BODIES))
def test_a_body_that_is_no_command_is_400_in_one_line_and_logs_nothing(tmp_path, name):
    status, body, logged = answered(tmp_path, lambda token: request(body=BODIES[name], token=token))
    assert status == 400
    assert ("larger than 64 kB" in one_line(body)) == (name == "large")
    assert logged == ""


REQUESTS = {
    "no HTTP": b"hello\r\n\r\n",
    "a header without a colon": b"GET /health HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n",
    "a control byte in a header": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: \x00\r\n\r\n",
    "a length that is none": b"POST /command HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: many\r\n\r\n",
    "a long header": b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", list(REQUESTS))
def test_what_is_no_http_is_400_in_one_line_and_logs_nothing(tmp_path, name):
    status, body, logged = answered(tmp_path, lambda _token: REQUESTS[name])
    assert status == 400
    assert one_line(body)
    assert logged == ""


def test_a_body_in_pieces_that_are_none_is_400(tmp_path):
    def made(token):
        pieces = request(token=token).replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")
        return pieces[:-2] + b"zz\r\n{}\r\n0\r\n\r\n"

    status, body, logged = answered(tmp_path, made)
    assert status == 400
    assert one_line(body)
    assert logged == ""


@pytest.mark.parametrize("token", [b"", b"guess", b"\xff\xfe", "tökên".encode(), b"a" * 5000])
def test_odd_bytes_for_a_token_are_403(tmp_path, token):
    def made(_token):
        return request(body=b'{"command": "pause"}').replace(b"Bearer ", b"Bearer " + token)

    status, body, logged = answered(tmp_path, made)
    assert status == 403
    assert "token" in one_line(body)
    assert logged == ""


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "host", [b"evil.example", b"evil.example:80", b"127.0.0.1.evil.example", b"localhost@evil", b""]
)
def test_a_request_for_another_host_is_refused_on_every_route(tmp_path, path, host):
    """A name that somebody's server resolves to 127.0.0.1 lets a web page speak to what listens here."""
    method = "POST" if path == "/command" else "GET"
    made = {"path": path, "host": host, "method": method, "body": b'{"command": "pause"}'}
    status, body, _ = answered(tmp_path, lambda token: request(token=token, **made))
    assert status == 403
    assert "loopback" in one_line(body)


@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost:8080", b"[::1]", b"[::1]:1234", b"LOCALHOST"])
def test_every_name_of_loopback_is_answered(tmp_path, host):
    status, body, _ = answered(tmp_path, lambda token: request(body=b'{"command": "pause"}', token=token, host=host))
    assert (status, json.loads(body)) == (200, {"done": "pause None False"})


def test_two_hosts_in_one_request_are_refused(tmp_path):
    headers = (b"Host: evil.example",)
    status, _, logged = answered(tmp_path, lambda token: request("/health", token=token, method="GET", headers=headers))
    assert status in (400, 403)
    assert logged == ""


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nowhere"), ("GET", "/command"), ("POST", "/status"), ("PUT", "/")]
)
def test_an_unknown_route_is_404_in_one_line(tmp_path, method, path):
    status, body, logged = answered(tmp_path, lambda token: request(path, token=token, method=method))
    assert status == 404
    assert one_line(body)
    assert logged == ""


@pytest.mark.parametrize("path", ["/status", "/ready", "/metrics"])
def test_what_nobody_expected_is_500_in_one_line_and_one_line_of_log(tmp_path, path):
    async def broken():
        raise ZeroDivisionError

    status, body, logged = answered(tmp_path, lambda token: request(path, token=token, method="GET"), broken)
    assert status == 500
    assert "log" in one_line(body)
    assert "Traceback" not in body
    (line,) = logged.splitlines()
    told = json.loads(line)
    assert (told["event"], told["path"]) == ("control_failed", path)
    assert "ZeroDivisionError" in told["exception"]


def test_the_file_with_the_token_is_private_even_where_an_open_one_was_left(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{}")
    file.chmod(0o644)

    async def main():
        async with opened(file):
            return stat.S_IMODE(file.stat().st_mode), [one.name for one in tmp_path.iterdir()]

    assert asyncio.run(main()) == (0o600, ["x.json"])


# The client.


@contextmanager
def answering(file, status, body, raw=None):
    """Something at the bot's address that answers this to everything."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if raw is not None:
                self.wfile.write(raw)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    file.write_text(json.dumps({"address": f"http://127.0.0.1:{server.server_address[1]}", "token": "t"}))
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "raw"),
    [
        (200, b"<html>", None),
        (200, b"[1]", None),
        (200, b"\xff", None),
        (500, b"", None),
        (403, b"<h1>no</h1>", None),
        (409, b'"no"', None),
        (409, b'{"error": 1}', None),
        (200, b"", b"hello\r\n\r\n"),
        (200, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    ],
)
def test_every_answer_that_cannot_be_read_is_one_sentence(tmp_path, status, body, raw):
    file = tmp_path / "x.json"
    with answering(file, status, body, raw), pytest.raises(Misconfigured, match="is not this bot") as caught:
        ask(file, "/status")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "known",
    ["", "{", "[]", "null", "{}", '{"address": 1, "token": 2}', '{"address": "file:///etc/passwd", "token": "t"}'],
)
def test_a_file_of_the_bot_that_cannot_be_read_is_one_sentence(tmp_path, known):
    file = tmp_path / "x.json"
    file.write_text(known)
    with pytest.raises(Misconfigured, match="is damaged"):
        ask(file, "/status")


def test_the_token_goes_to_no_proxy(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    file = tmp_path / "x.json"
    with answering(file, 200, b'{"a": 1}'):
        assert ask(file, "/status") == {"a": 1}


@pytest.mark.parametrize(
    ("arguments", "body", "sentence"),
    [
        (("status",), b'{"pairs": 1}', "of another version"),
        (("status",), b"<html>", "is not this bot"),
        (("sing",), b"{}", "is unknown"),
    ],
)
def test_ctl_says_one_sentence_with_exit_code_2(tmp_path, arguments, body, sentence):
    (tmp_path / "bots").mkdir()
    with answering(tmp_path / "bots" / "main.json", 200, body):
        done = subprocess.run(
            [sys.executable, "-m", "bot", "ctl", *arguments],
            cwd=ROOT,
            env={**os.environ, "TRADERAGENT_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
