"""ClickHouse's HTTP interface in front of its own engine, chdb, as a process of its own: prints its port.

Takes the folder of its files and the port, 0 for a free one. The engine is the real one; only the door is ours.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session


class Door(BaseHTTPRequestHandler):
    session: Session
    lock = threading.Lock()
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body):
        asked = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        told = base64.b64decode(self.headers.get("Authorization", "Basic ").split(" ", 1)[1]).decode()
        if told.endswith(":wrong") or self.headers.get("X-ClickHouse-Key") == "wrong":
            return self.say(401, b"Code: 516. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)")
        try:
            with self.lock:
                return self.say(200, self.carried_out(asked, body))
        except RuntimeError as error:
            return self.say(500, str(error).encode())

    def carried_out(self, asked, body):
        named = {name.removeprefix("param_"): value for name, value in asked.items() if name.startswith("param_")}
        database = f"USE {asked['database']}" if asked.get("database") else "USE default"
        self.session.query(database)
        if body.startswith(b"INSERT"):
            first, body = body.split(b"\n", 1)
            with tempfile.NamedTemporaryFile(suffix=".parquet") as rows:
                rows.write(body)
                rows.flush()
                table = first.decode().removesuffix(" FORMAT Parquet")
                self.session.query(f"{table} SELECT * FROM file('{rows.name}', Parquet)")
            return b""
        question, kind = asked.get("query") or body.decode(), "TabSeparated"
        if " FORMAT " in question:
            question, kind = question.rsplit(" FORMAT ", 1)
        return self.session.query(question, kind.strip(), params=named).bytes()

    def say(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main(folder, port):
    Door.session = Session(str(Path(folder)))
    server = ThreadingHTTPServer(("127.0.0.1", port), Door)
    print(server.server_address[1], flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
