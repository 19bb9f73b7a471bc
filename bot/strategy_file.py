"""The package that holds strategies of the user's own files, each version of each in a name space of its own.

`bot.strategy_file.<space>.<module>`: the name of a space tells folder, module and a hash of the user's sources, so that
any process can load what another has pickled. Within a space the modules of that folder are found by their plain
names; Python's own, installed packages and this project go before them, and nothing outside sees them.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import Misconfigured
from bot.sources import closure, code_hash, is_provided, module_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

__path__: list[str] = []  # a package, whose modules the finder below finds
PREFIX = f"{__name__}."
BETWEEN = "__"  # the parts of a space's name


def load(folder: Path, module: str) -> ModuleType:
    """Load `module`, which lies in `folder`; the same object as long as neither it nor what it imports has changed.

    Raises what its code raises.
    """
    while True:
        name = f"{PREFIX}{_space(folder, module)}.{module}"
        loaded = importlib.import_module(name)
        if name == f"{PREFIX}{_space(folder, module)}.{module}":  # nobody has saved it meanwhile
            return loaded


def neighbours(module: str) -> list[ModuleType]:
    """Modules of a module's space that are loaded, itself among them; none for a module of another package."""
    if not module.startswith(PREFIX):
        return []
    space = f"{PREFIX}{module.removeprefix(PREFIX).split('.')[0]}."
    return [one for name, one in sys.modules.items() if name.startswith(space)]


def load_again(module: str) -> ModuleType:
    """Load a module of this package anew, with its neighbours, as another process would; what is loaded stays.

    Raises what its code raises.
    """
    space, own = f"{PREFIX}{module.removeprefix(PREFIX).split('.')[0]}", vars(sys.modules[__name__])
    name = space.removeprefix(PREFIX)
    kept = {one: sys.modules.pop(one) for one in list(sys.modules) if f"{one}.".startswith(f"{space}.")}
    package = own.get(name)
    try:
        return importlib.import_module(module)
    finally:
        for one in [one for one in sys.modules if f"{one}.".startswith(f"{space}.")]:
            del sys.modules[one]
        sys.modules.update(kept)
        own[name] = package


def is_users(module: str) -> bool:
    """Whether a module is the user's own: neither this project's, nor Python's, nor of an installed package."""
    return module.startswith(PREFIX) or not is_provided(module.split(".", maxsplit=1)[0])


def folder_of(module: str) -> Path | None:
    """Folder in which the imports of a module of this package begin, None for any other module."""
    if not module.startswith(PREFIX):
        return None
    return _place(module.removeprefix(PREFIX).split(".")[0])[0]


def own_sources(module: str) -> list[Path]:
    """Sources of the user's that the strategy of this module's space depends on; none for any other module."""
    if not module.startswith(PREFIX):
        return []
    folder, root = _place(module.removeprefix(PREFIX).split(".")[0])
    file = module_file(folder, root)
    return [] if file is None else sorted(closure([(file, folder)], None))


def _space(folder: Path, module: str) -> str:
    file = module_file(folder, module)
    version = "" if file is None else code_hash(closure([(file, folder)], None))
    return BETWEEN.join((_quoted(str(folder)), _quoted(module), version))


def _place(space: str) -> tuple[Path, str]:
    """Folder and module that a space is named by."""
    folder, module, _ = space.split(BETWEEN)
    return Path(_unquoted(folder)), _unquoted(module)


def _quoted(text: str) -> str:
    """As a part of a Python name: `_` and two hexadecimal digits for each byte that is no letter or digit."""
    return re.sub(rb"[^0-9A-Za-z]", lambda one: b"_%02x" % one[0][0], text.encode()).decode()


def _unquoted(text: str) -> str:
    return re.sub(rb"_(..)", lambda one: bytes([int(one[1], 16)]), text.encode()).decode()


class _Finder(MetaPathFinder):
    """Finds the spaces, and the modules in them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a space or a module in it; raises Misconfigured for a version that is no more."""
        del path, target
        if not fullname.startswith(PREFIX):
            return None
        space, _, module = fullname.removeprefix(PREFIX).partition(".")
        folder, root = _place(space)
        if not module:
            if _space(folder, root) != space:
                raise Misconfigured(
                    f"strategy {folder / root}.py is missing here or has changed since it was loaded elsewhere; "
                    "start again with the same file on every machine."
                )
            return _folder_spec(fullname, folder)
        file, within_space = module_file(folder, module), folder.joinpath(*module.split("."))
        if file is None:
            return _folder_spec(fullname, within_space) if within_space.is_dir() else None
        within = [str(file.parent)] if file.name == "__init__.py" else None
        return spec_from_file_location(
            fullname, file, loader=_Loader(fullname, str(file)), submodule_search_locations=within
        )


def _folder_spec(fullname: str, folder: Path) -> ModuleSpec:
    spec = ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


class _Loader(SourceFileLoader):
    """Loads a source whose imports of its neighbours mean those of its space."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Compile the source, with imports of neighbours by their full names.

        Nothing is kept in `__pycache__`, where an ordinary import would find it.
        """
        path = self.get_filename(fullname)
        space = self.name.removeprefix(PREFIX).split(".")[0]
        tree = ast.parse(self.get_data(path), path)
        _Neighbours(_place(space)[0], f"{PREFIX}{space}").visit(tree)
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _Neighbours(ast.NodeTransformer):
    """Names the modules of a folder in full, in every import statement."""

    def __init__(self, folder: Path, space: str) -> None:
        self.folder, self.space = folder, space

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        """`import a.b` binds `a`, `import a.b as c` binds `b`."""
        made: list[ast.stmt] = []
        for one in node.names:
            if not self._is_near(one.name):
                made.append(ast.Import([one]))
                continue
            top, *_ = one.name.split(".")
            made.append(ast.Import([ast.alias(f"{self.space}.{one.name}", one.asname or top)]))
            if one.asname is None:
                made.append(ast.ImportFrom(self.space, [ast.alias(top)], 0))
        return [ast.copy_location(one, node) for one in made]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        """`from a.b import c`; relative imports are right as they are."""
        if node.level == 0 and node.module is not None and self._is_near(node.module):
            node.module = f"{self.space}.{node.module}"
        return node

    def _is_near(self, module: str) -> bool:
        top = module.split(".", maxsplit=1)[0]
        near = self.folder / top
        return not is_provided(top) and (near.is_dir() or near.with_suffix(".py").is_file())


sys.meta_path.insert(0, _Finder())  # before the one that would load its modules as they stand
