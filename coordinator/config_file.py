"""A config as it is written: keys and values, before its models and the kernels behind them are loaded.

What is wrong here is told at once. A mistake becomes one sentence that names the field, the value and the remedy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.errors import Misconfigured, suggestion

VERSION = 1
AUTO = "auto"
# The strategies that come with the program, and where they lie.
BUILT_IN = {name: f"strategies.{name}:STRATEGY" for name in ("grid", "dca", "trend")}


def config_values(source: dict[str, Any] | str | Path, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Keys and values of a dict or a YAML file, `changes` laid over them by dotted key.

    Raises Misconfigured when they cannot be read, are of another version or name no strategy.
    """
    values = dict(source) if isinstance(source, dict) else read_values(Path(source))
    for key, value in (changes or {}).items():
        _set(values, key, value)
    if values.get("version", VERSION) != VERSION:
        raise Misconfigured(
            f"version is {values['version']!r} but this program reads version {VERSION}; "
            "write the config anew from the README's example."
        )
    name = str(values.get("strategy", ""))
    if not name:
        raise Misconfigured(f"strategy is missing; choose {', '.join(BUILT_IN)}, auto or your own FILE.py:NAME.")
    if name != AUTO:
        refuse_unknown(name)
    return {**values, "strategy": name}


def refuse_unknown(name: str) -> None:
    """Raise Misconfigured unless `name` is a built-in strategy's or of the form FILE.py:NAME."""
    if name not in BUILT_IN and ":" not in name:
        raise Misconfigured(
            f"strategy {name[:200]!r} is unknown; {suggestion(name, BUILT_IN)} or give your own as module:NAME."
        )


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values; raises Misconfigured."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Misconfigured(f"config {path} does not exist; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    import yaml  # noqa: PLC0415, what needs no file is told without it

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _unreadable(path, error) from None
    if not isinstance(values, dict):
        raise Misconfigured(f"config {path} holds no keys and values; see the README's example.")
    return _with_files_beside(path, values)


def _with_files_beside(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Find files that a config names, candles and strategies of one's own, from the folder of the config."""

    def strategy(name: Any) -> Any:
        place, _, of_it = str(name).rpartition(":")
        return f"{(path.parent / place).resolve()}:{of_it}" if place.endswith(".py") else name

    found = dict(values)
    if "strategy" in values:
        found["strategy"] = strategy(values["strategy"])
    candles, auto = values.get("candles"), values.get("auto")
    if isinstance(candles, str):
        found["candles"] = (path.parent / candles).resolve()
    if isinstance(candles, dict):
        found["candles"] = {pair: (path.parent / str(one)).resolve() for pair, one in candles.items()}
    if isinstance(auto, dict) and isinstance(auto.get("routes"), dict):
        found["auto"] = {**auto, "routes": {regime: strategy(name) for regime, name in auto["routes"].items()}}
    return found


def _unreadable(path: Path, error: Exception) -> Misconfigured:
    reason = str(error).splitlines()[0]
    return Misconfigured(f"config {path} cannot be read ({reason}); mend the file.")


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        inner = values.get(part)
        values[part] = dict(inner) if isinstance(inner, dict) else {}
        values = values[part]
    values[last] = value
