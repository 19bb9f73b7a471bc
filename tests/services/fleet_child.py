"""What a test's supervisor starts in place of a bot: its control interface and its last words, and nothing that trades.

A file NAME.does beside the config says otherwise: `crash`, `refuse` or `away` end it at once, `deaf` refuses a stop.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from coordinator.config_file import read_values
from services.control.client import control_file
from services.control.loopback import LoopbackServer, body_of, refusal

ENDS = {
    "crash": (1, '{"event": "died", "exception": "Traceback"}'),
    "refuse": (2, "error: pairs is empty; name one."),
    "away": (75, "error: the exchange did not answer"),
}


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)  # noqa: T201


class Child(LoopbackServer):
    """The control interface of a bot that knows one command."""

    def __init__(self, file, *, deaf):
        super().__init__(file, "bot", "bot.control_port")
        self.ended, self.deaf = asyncio.Event(), deaf
        self._routes = {("POST", "/command"): self.trusted(self.command)}

    async def command(self, request):
        assert (await body_of(request))["command"] == "stop"
        if self.deaf:
            return refusal("not now", 409)
        self.reason = "`ctl stop` was said"
        self.ended.set()
        return web.json_response({"done": "stopping"})


async def main(name, does):
    child = Child(control_file(Path(os.environ["TRADERAGENT_DATA_DIR"]), name), deaf=does == "deaf")
    child.reason = "this machine ended it"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, child.ended.set)
    say("warming_up", bot=name)
    await child.start()
    say("running", bot=name)
    await child.ended.wait()
    await child.stop()
    say("ended", bot=name, reason=child.reason)


if __name__ == "__main__":
    config = Path(sys.argv[1])
    given = read_values(config)["bot"]["name"]
    kept = config.with_name(f"{given}.does")
    wanted = kept.read_text() if kept.exists() else ""
    with config.with_name("started").open("a") as out:
        out.write(f"{os.getpid()}\n")
    if wanted in ENDS:
        code, line = ENDS[wanted]
        print(line, flush=True)  # noqa: T201
        sys.exit(code)
    asyncio.run(main(given, wanted))
