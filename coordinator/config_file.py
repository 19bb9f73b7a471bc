"""A config as it is written: keys and values, before its models and the kernels behind them are loaded.

What is wrong here is told at once. A mistake becomes one sentence that names the field, the value and the remedy.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bot.errors import Misconfigured, cut, shown, suggestion
from bot.strategy_source import complete

VERSION = 1
AUTO = "auto"
# The strategies that the router knows, and all that come with the program, with where they lie.
ROUTED = ("grid", "dca", "trend")
BUILT_IN = {name: f"strategies.{name}:STRATEGY" for name in (*ROUTED, "rules")}
# Keys of a config, beside which a strategy's section stands under its name.
KEYS = (
    *("version", "strategy", "exchange", "market", "from", "to", "capital", "leverage", "execution", "pair", "pairs"),
    *("candles", "instrument", "instruments", "reinvest", "investments", "bot", "risk_level"),
    *("auto", "allocation", "risk", "smc"),
)
PAIR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
APART = re.compile(r"([A-Z0-9]{1,20})[/_-](USDT|USDC|USD|EUR|BTC|ETH)(?::[A-Z0-9]{1,9})?")
SURROGATE = re.compile("[\ud800-\udfff]")  # which no file's name and no output can hold
DEEPEST, MOST_VALUES = 12, 20_000  # of a config: how far sections lie in each other, and how much is in all of them


def config_values(source: dict[str, Any] | str | Path, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Keys and values of a dict or a YAML file, `changes` laid over them by dotted key.

    Raises Misconfigured when they cannot be read, are of another version or name no strategy.
    """
    values = dict(source) if isinstance(source, dict) else read_values(Path(source))
    for key, value in (changes or {}).items():
        set_value(values, key, value)
    _refuse_odd(values)
    if values.get("version", VERSION) != VERSION:
        raise Misconfigured(
            f"version is {shown(values['version'])} but this program reads version {VERSION}; "
            "write the config anew from the README's example."
        )
    name = values.get("strategy", "")
    if not name:
        raise Misconfigured(f"strategy is missing; choose {', '.join(BUILT_IN)}, auto or your own FILE.py:NAME.")
    if not isinstance(name, str):
        raise Misconfigured(f"strategy is {shown(name)}; give one name: {', '.join(BUILT_IN)}, auto or FILE.py:NAME.")
    return {**values, "strategy": name if name == AUTO else reference(name)}


def reference(name: str) -> str:
    """Return a strategy's name as it stands, or FILE.py:NAME in full where the file holds one strategy.

    Raises Misconfigured for a name that is no built-in strategy's and no reference to one's own.
    """
    if name in BUILT_IN:
        return name
    if not is_own(name):
        raise Misconfigured(
            f"strategy {shown(name)} is unknown; {suggestion(name, BUILT_IN)} or give your own as FILE.py:NAME."
        )
    return complete(name)


def is_own(name: str) -> bool:
    """Whether a strategy's name refers to one of the user's: FILE.py, FILE.py:NAME or module:NAME."""
    return ":" in name or name.endswith(".py")


def joins(name: str) -> bool:
    """Whether a strategy joins a roster only where a config names it."""
    return is_own(name) or (name in BUILT_IN and name not in ROUTED)


def names_of_pairs(pairs: Any) -> list[str]:
    """Symbols of pairs, from a list or a text with commas between; raises Misconfigured."""
    if isinstance(pairs, str):
        pairs = [one.strip() for one in pairs.split(",") if one.strip()]
    elif isinstance(pairs, dict) or not isinstance(pairs, Iterable):
        raise Misconfigured(f"pairs is {shown(pairs)}; name them in a list, or with commas between.")
    names = [symbol_of(name) if isinstance(name, str) else name for name in pairs]
    odd = [name for name in names if not isinstance(name, str) or not PAIR.fullmatch(name)]
    if odd:
        raise Misconfigured(
            f"pairs names {shown(odd[0])}, which is no symbol; write it as the venue does, such as BTCUSDT."
        )
    return names


def symbol_of(name: str) -> str:
    """The symbol of a pair as the venue writes it, from any usual way: btcusdt, BTC/USDT, BTC-USDT, BTC/USDT:USDT."""
    apart = APART.fullmatch(name.upper())
    return apart[1] + apart[2] if apart else name.upper()


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values; raises Misconfigured."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Misconfigured(
            f"config {cut(str(path))} does not exist; give the path of a YAML file, or write one with "
            "`traderagent init`."
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        values = parsed(text)
    except ValueError as error:
        raise _unreadable(path, error) from None
    if not isinstance(values, dict):
        raise Misconfigured(f"config {cut(str(path))} holds no keys and values; see the README's example.")
    _refuse_odd(values)
    return _with_files_beside(path, values)


def _with_files_beside(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Find files that a config names, candles and strategies of one's own, from the folder of the config."""

    def strategy(name: Any) -> Any:
        own = re.fullmatch(r"(.*\.py)(:.*)?", name) if isinstance(name, str) else None
        return f"{(path.parent / own[1]).resolve()}{own[2] or ''}" if own else name

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


def parsed(text: str) -> Any:
    """Read a YAML value; raises ValueError with the place and the reason."""
    depths = itertools.accumulate(1 if one in "[{" else -1 for one in re.findall(r"[\[\]{}]", text))
    if max(depths, default=0) > 4 * DEEPEST:  # the parser's time grows with the square of it
        raise ValueError("its sections lie too deep in each other")
    import yaml  # noqa: PLC0415, what needs no file is told without it

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f"line {mark.line + 1}: "
        raise ValueError(f"{place}{error.problem or error.context or 'no YAML'}") from None
    except (yaml.YAMLError, TypeError, OverflowError, LookupError, AttributeError) as error:  # such as `!!bool maybe`
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("its sections lie too deep in each other") from None


def _refuse_odd(values: dict[str, Any]) -> None:
    """Raise Misconfigured for what no config has: keys that are no words, sections without end, control characters."""
    waiting: list[tuple[str, Any, int]] = [("config", values, 0)]
    seen = 0
    while waiting:
        place, value, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST_VALUES:
            raise Misconfigured(f"{cut(place)} holds more than a config can; mend its sections and references.")
        if isinstance(value, str) and "\0" in value:
            raise Misconfigured(f"{cut(place)} is {shown(value)}, which has a NUL character; write it without.")
        if isinstance(value, str) and SURROGATE.search(value):
            raise Misconfigured(f"{cut(place)} is {shown(value)}, which has half a character; write it without.")
        if isinstance(value, dict):
            odd = next((key for key in value if not isinstance(key, str) or SURROGATE.search(key)), None)
            if odd is not None or None in value:
                raise Misconfigured(f"{cut(place)} has the key {shown(odd)}, which is no word; put it in quotes.")
            waiting += [(key if value is values else f"{place}.{key}", one, depth + 1) for key, one in value.items()]
        elif isinstance(value, list | tuple | set):
            waiting += [(place, one, depth + 1) for one in value]


def _unreadable(path: Path, error: Exception) -> Misconfigured:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return Misconfigured(f"config {cut(str(path))} cannot be read ({cut(str(reason))}); mend the file.")


def set_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Lay a value over others by its dotted key."""
    *path, last = key.split(".")
    for part in path:
        inner = values.get(part)
        values[part] = dict(inner) if isinstance(inner, dict) else {}
        values = values[part]
    values[last] = value
