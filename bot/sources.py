"""Sources that code depends on: found by the import statements in them, compared by what they mean.

`closure` follows imports from file to file: those of this project and the user's own, never Python's or an installed
package's. Two sources are the same code where they differ in comments, docstrings and layout alone.
"""

from __future__ import annotations

import ast
import hashlib
import site
import sys
import sysconfig
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("bot", "strategies", "filters", "coordinator", "backtesting", "search")  # may hold kernels
LAZY = "__getattr__"  # of a package: what it imports is loaded when somebody asks for it
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

Import = tuple[int, str, tuple[str, ...]]  # dots in front, module, names taken from it


def sources(root: Path = ROOT) -> list[Path]:
    """List every source of the packages that may hold kernels."""
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def _changed(path: Path) -> int:
    """When a file was last changed, ns."""
    return path.stat().st_ctime_ns


LOADED = {path: _changed(path) for path in sources()}  # before any module of the project that has kernels is loaded


def source_hash(extra: Iterable[Path] = ()) -> str:
    """Hash of every source of the project and of `extra` files, byte by byte: 16 hex digits, the same anywhere."""
    digest = hashlib.sha256(_project_bytes())
    for path in sorted(extra):
        digest.update(path.stem.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def _project_bytes() -> bytes:
    named = ((path.relative_to(ROOT).as_posix().encode(), path.read_bytes()) for path in sources())
    return b"".join(name + b"\0" + content + b"\0" for name, content in named)


def code_hash(files: dict[Path, str]) -> str:
    """Hash of what these sources mean, with their names: 16 hex digits, the same wherever they lie."""
    digest = hashlib.sha256()
    for path, name in sorted(files.items(), key=lambda one: one[1]):
        digest.update(f"{name} {_facts(path.read_bytes())[0]}\n".encode())
    return digest.hexdigest()[:16]


def closure(starts: Iterable[tuple[Path, Path]], project: Path | None = ROOT) -> dict[Path, str]:
    """Sources that the code in the `starts`, each a file and the folder its imports begin at, depends on.

    Returns module names by path. `project` is where this project's packages lie; None leaves them out.
    """
    found: dict[Path, str] = {}
    waiting = [(path, _name(path, folder), folder) for path, folder in starts]
    while waiting:
        path, name, folder = waiting.pop()
        if path in found:
            continue
        found[path] = name
        for module, relative in _modules(path, name):
            top = module.split(".")[0]
            places: tuple[Path, ...] = ()
            if relative:
                places = (folder,)
            elif top in PACKAGES and project is not None:
                places = (project,)
            elif not is_provided(top):
                places = (folder, *_own_places())
            for place in places:
                file = module_file(place, module)
                if file is not None:
                    waiting.append((file, module, place))
                    break
    return found


def is_as_loaded(files: Iterable[Path]) -> bool:
    """Whether none of the project's own sources among these has changed since this process loaded them.

    After an upgrade in place, or an edit, the files tell of other code than this process runs. One that is new was
    not loaded: what imports it has changed.
    """
    return all(LOADED[path] == _changed(path) for path in files if path in LOADED)


def module_file(folder: Path, module: str) -> Path | None:
    """Source of the dotted `module` under `folder`, if there is one."""
    stem = folder.joinpath(*module.split("."))
    return next((path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()), None)


@cache
def is_provided(top: str) -> bool:
    """Whether Python itself, an installed package or this project gives a top-level module of this name."""
    if top in sys.stdlib_module_names or top in sys.builtin_module_names or top in (*PACKAGES, "services"):
        return True
    spec = PathFinder.find_spec(top, [str(place) for place in _installed()])
    return spec is not None and spec.origin is not None  # else it is a folder without a module of its own


def is_users_file(path: Path) -> bool:
    """Whether a source is the user's own: it lies neither in this project, nor with Python or an installed package."""
    path = path.resolve()
    if not path.is_file():  # such as the frozen machinery of imports
        return False
    library = [Path(sysconfig.get_paths()[key]).resolve() for key in ("stdlib", "platstdlib")]
    ours = [ROOT / package for package in (*PACKAGES, "services")]
    return not any(path.is_relative_to(place) for place in (*library, *_installed(), *ours))


@cache
def _installed() -> tuple[Path, ...]:
    paths = [sysconfig.get_paths()[key] for key in ("purelib", "platlib")]
    return tuple({Path(path).resolve() for path in (*paths, *site.getsitepackages(), site.getusersitepackages())})


def _own_places() -> Iterator[Path]:
    """Folders that Python searches for modules and that belong neither to it nor to installed packages."""
    library = [Path(sysconfig.get_paths()[key]).resolve() for key in ("stdlib", "platstdlib")]
    for entry in sys.path:
        place = Path(entry).resolve()
        if place.is_dir() and not any(place.is_relative_to(one) for one in (*library, *_installed())):
            yield place


def _name(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _modules(path: Path, name: str) -> Iterator[tuple[str, bool]]:
    """Modules that a source may import, by full name, packages first, and whether relative to its own package.

    A name taken from a package may be a module.
    """
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for dots, module, names in _facts(path.read_bytes())[1]:
        steps = [*(package[: len(package) - dots + 1] if dots else ()), *(module.split(".") if module else ())]
        full = [steps[:count] for count in range(1, len(steps) + 1)] + [[*steps, one] for one in names if one != "*"]
        yield from ((".".join(parts), dots > 0) for parts in full)


def read_sources() -> None:
    """Learn what every source of the project means before threads ask: Python 3.11 may fail to parse in two at once."""
    for path in sources():
        _facts(path.read_bytes())


@lru_cache(maxsize=1024)
def _facts(source: bytes) -> tuple[str, tuple[Import, ...]]:
    """What a source means, as a hash, and what it imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # whoever imports it is told; here it is just other code
        return hashlib.sha256(source).hexdigest(), ()
    imports = tuple(_imports(tree.body))
    _forget_docstrings(tree)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports


def _imports(body: Sequence[ast.AST]) -> Iterator[Import]:
    """Imports that running these statements, or a function among them, may do."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((0, one.name, ()) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(one.name for one in node.names)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _imports(node.orelse)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case) and getattr(node, "name", "") != LAZY:
            yield from _imports(list(ast.iter_child_nodes(node)))


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _forget_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
