"""The least that a server can be, to compare the console with: `python -m tests.bench.plain_server` prints its port.

`GET …` is answered 200 as HTTP after the empty line; who says `HEAR` hears the lines of whoever says `TELL …`.
"""

from __future__ import annotations

import asyncio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'
hearing = set()


async def serve(reader, writer):
    while line := await reader.readline():
        if line.startswith(b"GET"):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
        elif line.startswith(b"HEAR"):
            hearing.add(writer)
            writer.write(b"\n")
        elif line.startswith(b"TELL"):
            for one in hearing:
                one.write(line)
    hearing.discard(writer)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
