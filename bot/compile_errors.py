"""What the compiler says of a strategy, as one sentence that names the file and the line."""

from __future__ import annotations

import ast
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numba

from bot.errors import Misconfigured, cut
from bot.sources import is_users_file
from bot.strategy_file import own_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bot.strategy import Strategy

PLACE = re.compile(r" at (\S.*?\.py) \((\d+)\)")
UNKNOWN_NAME = re.compile(r"name '(\w+)' is not defined")


@contextmanager
def compiling(strategies: Sequence[Strategy]) -> Iterator[None]:
    """Raise Misconfigured, with the place, where the code of one of these strategies does not compile."""
    names = ", ".join(one.name for one in strategies)
    try:
        yield
    except KeyError as error:  # what Numba says of a field that a record does not have
        field = str(error.args[0])
        place = _mentioned(strategies, field)
        raise Misconfigured(
            f"strategy {names} does not compile: {place}a record has no field {field!r}; correct its name."
        ) from error
    except numba.errors.NumbaError as error:
        text = str(error)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        told = next((line for line in lines if not line.startswith("Failed in nopython")), lines[0])
        unknown = UNKNOWN_NAME.search(told)
        place = _mentioned(strategies, unknown[1]) if unknown else _first_of_users(text)
        raise Misconfigured(
            f"strategy {names} does not compile: {place}{cut(told).rstrip(':')}; try it with NUMBA_DISABLE_JIT=1."
        ) from error


def _first_of_users(text: str) -> str:
    """The innermost place in the user's own sources that the compiler names."""
    for path, line in PLACE.findall(text):
        if is_users_file(Path(path)):
            return f"{Path(path).name}, line {line}, "
    return ""


def _mentioned(strategies: Sequence[Strategy], name: str) -> str:
    """Where the sources of these strategies use a field or a name first: the compiler does not tell."""
    for strategy in strategies:
        for path in own_sources(strategy.decide.__module__):
            used = [
                node.lineno
                for node in ast.walk(ast.parse(path.read_bytes()))
                if (isinstance(node, ast.Attribute) and node.attr == name)
                or (isinstance(node, ast.Name) and node.id == name)
            ]
            if used:
                return f"{path.name}, line {min(used)}, "
    return ""
