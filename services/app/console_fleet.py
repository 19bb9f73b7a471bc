"""The fleet as the console sees it: its bots, what a new one can be made of, and making one."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bot.errors import Misconfigured
from coordinator.config_file import AUTO, ROUTED, names_of_pairs, read_values
from coordinator.run_state import OVER
from coordinator.saved_strategy import saved_strategy
from services.app.accepted import accept
from services.app.fleet_config import read_bot, refuse_open, stored_positions
from services.app.key_access import secrets_of
from services.app.preset_library import preset_named, presets_of, today
from services.control.client import ask_fleet, fleet_file, process_of
from services.exchanges.registry import BYBIT
from services.fleet.records import FleetRecords
from services.keys.key_store import TRADING, KeyStore
from services.runtime.config import EMBEDDED, Environment
from services.storage.tested_runs import untested_pairs
from services.whole_file import write_private

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings

STRATEGIES = (*ROUTED, AUTO)
WRITTEN = "# Written by the console.\n"


class ConsoleFleet:
    """The fleet of a data directory; what takes time is done in a thread."""

    def __init__(self, data_dir: Path, dsn: str, database: str) -> None:
        """`dsn`: of the console's database, `database`: as it was configured."""
        self.data_dir, self.dsn, self.database = data_dir.resolve(), dsn, database
        self.records = FleetRecords(self.data_dir)
        self._configs: dict[str, tuple[int, dict[str, Any]]] = {}

    async def bots(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether a supervisor runs, and how the bots stand, else how they stood last. Raises Misconfigured."""
        return await asyncio.to_thread(self._bots)

    def _bots(self) -> tuple[bool, list[dict[str, Any]]]:
        runs = process_of(fleet_file(self.data_dir)) is not None
        if runs:
            rows = ask_fleet(self.data_dir, "/bots").get("bots", [])
        else:
            rows = [asdict(one) for one in self.records.read().values()]
        return runs, [{**one, **self._traded(one["config"])} for one in rows]

    def _traded(self, config: str) -> dict[str, Any]:
        """Strategy and pairs of a config; read again when the file is another one."""
        try:
            stamp = Path(config).stat().st_mtime_ns
            if self._configs.get(config, (0,))[0] != stamp:
                values = read_values(Path(config))
                pairs = names_of_pairs(values.get("pairs") or values.get("pair") or [])
                self._configs[config] = stamp, {"strategy": str(values.get("strategy", "")), "pairs": pairs}
            return self._configs[config][1]
        except (OSError, Misconfigured):
            return {"strategy": "", "pairs": []}

    async def choices(self) -> dict[str, Any]:
        """What a bot can be made of: strategies, presets that stand, trading keys."""
        return await asyncio.to_thread(self._choices)

    def _choices(self) -> dict[str, Any]:
        presets = [one.name for one in presets_of(self.data_dir) if not one.fault and not one.expired(today())]
        names = [one for one in KeyStore(self.data_dir).names() if one.purpose == TRADING and one.exchange == BYBIT]
        keys = [{"user": one.user, "environment": one.environment} for one in names]
        return {"strategies": list(STRATEGIES), "presets": presets, "keys": keys}

    async def create(self, given: dict[str, Any], saved: dict[str, Any] | None) -> str:
        """Write the config of a new bot and take it into the fleet; `saved`: the document of a saved strategy.

        Raises Misconfigured with what `traderagent run` would say of it, and nothing is left.
        """
        return await asyncio.to_thread(self._create, given, saved)

    def _create(self, given: dict[str, Any], saved: dict[str, Any] | None) -> str:
        name, text = given["name"], WRITTEN + yaml.safe_dump(self._document(given, saved), sort_keys=False)
        ask_fleet(self.data_dir, "/bots")
        path = self.records.config(name)
        if name in self.records.read() or path.exists():
            raise Misconfigured(f"name is {name!r}, which a bot of the fleet has already; choose another.")
        settings, config = self._read(text)
        self._refuse(settings, config, untested=given["untested"])
        if given["untested"]:
            accept(settings, config)
        self.records.made_folder()
        write_private(path, text, replace=False)
        said = {"command": "add", "bot": name, "config": str(path), "environment": settings.environment.value}
        said |= {"start": given["start"], "source": "console"}
        try:
            return str(ask_fleet(self.data_dir, "/command", said).get("done"))
        except Misconfigured:
            if name not in self.records.read():
                path.unlink(missing_ok=True)
            raise

    def _document(self, given: dict[str, Any], saved: dict[str, Any] | None) -> dict[str, Any]:
        if saved is not None:
            values = dict(saved)
        elif given["preset"]:
            values = self._preset(given["preset"])
        else:
            values = {"version": 1, "strategy": given["strategy"], "market": "linear", "leverage": 1}
        values.pop("pair", None)
        values["pairs"] = names_of_pairs(given["pairs"])
        if given["capital"] is not None:
            values["capital"] = given["capital"]
        named = ("name", "environment", "address", "user")
        values["bot"] = {key: given[key] for key in named if given[key] is not None}
        return values

    def _preset(self, name: str) -> dict[str, Any]:
        try:
            return dict(preset_named(self.data_dir, name).values)
        except Misconfigured as error:
            raise Misconfigured(f"preset is {name!r}: {error}") from None

    def _read(self, text: str) -> tuple[BotSettings, PortfolioConfig]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bot.yaml"
            path.write_text(text, encoding="utf-8")
            return read_bot(path, self.data_dir)

    def _refuse(self, settings: BotSettings, config: PortfolioConfig, *, untested: bool) -> None:
        """Raise Misconfigured for a key that is not there, and for what nobody has tested and that is to trade live."""
        try:
            secrets_of(settings)
        except Misconfigured as error:
            raise Misconfigured(f"user is {settings.user!r}: {error}") from None
        if settings.environment is not Environment.LIVE or untested:
            return
        one = saved_strategy(config)
        missing = untested_pairs(self.data_dir, one.content, config.pairs)
        if missing:
            raise Misconfigured(
                f"untested is false, but strategy {one.name} has no finished backtest on {', '.join(missing)}; "
                "backtest it on real candles first, or accept it untested."
            )

    async def command(self, word: str, bot: str) -> str:
        """Have a bot started, stopped or restarted; what was done, in words. Raises Misconfigured."""
        said = {"command": word, "bot": bot, "source": "console"}
        return str((await asyncio.to_thread(ask_fleet, self.data_dir, "/command", said)).get("done"))

    async def remove(self, bot: str, *, leave_positions: bool) -> str:
        """Take a stopped bot out of the fleet; raises Misconfigured while it holds something, unless told otherwise."""
        kept = self.records.read().get(bot)
        if kept is not None and kept.state in OVER and not leave_positions:
            refuse_open(bot, await stored_positions(await asyncio.to_thread(self._database_of, kept.config), bot))
        return await self.command("remove", bot)

    def _database_of(self, config: str) -> str:
        section = read_values(Path(config)).get("bot") or {}
        address = str(section.get("database", EMBEDDED)) if isinstance(section, dict) else EMBEDDED
        if address != EMBEDDED:
            return address
        if self.database != EMBEDDED:
            raise Misconfigured(
                "its rows are in the database of the data directory, and this console reads another; use `traderagent "
                "fleet remove`."
            )
        return self.dsn
