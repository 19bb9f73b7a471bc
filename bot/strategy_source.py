"""What a strategy's source says of itself before it is run: which strategies it holds, or for which other program.

Nothing is imported: a file of freqtrade's or Jesse's would ask for their libraries. The same content is parsed once.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

from bot.errors import Misconfigured, cut, shown

# Base classes of strategies for other programs, by their last name, the module they come from, and the page.
FOREIGN = {"IStrategy": ("freqtrade", "freqtrade"), "Strategy": ("jesse", "Jesse")}
PAGE = "docs/from_freqtrade.md"


def complete(reference: str) -> str:
    """Return FILE.py:NAME for FILE.py that holds one strategy, and any other reference as it is.

    Raises Misconfigured where the file is missing, cannot be read, holds none or several, or is for another program.
    """
    if "\0" in reference:
        raise Misconfigured(f"strategy {shown(reference)} has a NUL character; give FILE.py:NAME.")
    place, sign, name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if sign and not (place and name):
        raise Misconfigured(f"strategy {shown(reference)} lacks a part; give FILE.py:NAME.")
    if not place.endswith(".py"):
        if not all(part.isidentifier() for part in place.split(".")):
            raise Misconfigured(f"strategy {shown(reference)} is neither a file nor a module; give FILE.py:NAME.")
        return reference
    program, names = _told_by(place)
    if program:
        raise Misconfigured(
            f"strategy {shown(place)} is one of {program}, which runs by other rules; {PAGE} shows its translation "
            "side by side."
        )
    if sign:
        return reference
    if not names:
        raise Misconfigured(
            f"strategy {shown(place)} holds no line NAME = Strategy(…); give FILE.py:NAME (docs/own_strategy.md)."
        )
    if len(names) > 1:
        choices = ", ".join(f"{Path(place).name}:{one}" for one in names)
        raise Misconfigured(f"strategy {shown(place)} holds {len(names)} strategies; choose one of {cut(choices)}.")
    return f"{place}:{names[0]}"


def strategies_in(tree: ast.Module) -> list[str]:
    """Names that a module binds to a Strategy, in their order."""
    found, called = [], _called(tree)
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if _last_name(node.value.func) in called:
                found += [one.id for one in targets if isinstance(one, ast.Name)]
    return found


def _called(tree: ast.Module) -> set[str]:
    """Names under which the module knows the class Strategy."""
    imports = [one for node in tree.body if isinstance(node, ast.ImportFrom) for one in node.names]
    return {"Strategy", *(one.asname or one.name for one in imports if one.name == "Strategy")}


def _program(tree: ast.Module) -> str:
    """Which other program a class of this module is for; empty for none."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {(one.asname or one.name): node.module or "" for node in imports for one in node.names}
    for node in ast.walk(tree):
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            name = _last_name(base)
            module, program = FOREIGN.get(name, ("", ""))
            if program and (name == "IStrategy" or modules.get(name, "").split(".")[0] == module):
                return program
    return ""


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _told_by(place: str) -> tuple[str, tuple[str, ...]]:
    """Which other program a file is for, and which strategies it holds; raises Misconfigured."""
    try:
        return _told_in(Path(place).read_bytes(), place)
    except SyntaxError as error:
        raise Misconfigured(
            f"strategy {shown(place)} cannot be loaded (line {error.lineno}: {cut(error.msg)}); mend the file."
        ) from None
    except FileNotFoundError:
        raise Misconfigured(f"strategy {shown(place)}: there is no such file; give its path.") from None
    except OSError as error:
        raise Misconfigured(f"strategy {shown(place)} cannot be read ({error.strerror}); give another file.") from None
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, another encoding, nested without end
        raise Misconfigured(f"strategy {shown(place)} cannot be loaded ({cut(str(error))}); mend the file.") from None


@lru_cache(maxsize=256)
def _told_in(content: bytes, place: str) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(content, place)
    return _program(tree), tuple(strategies_in(tree))
