"""
The house keeps its order: which way imports point, what stays pure, how large a thing may grow.

Everything here is read from the sources; nothing is imported.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"

LAYERS: list[set[str]] = [
    {"errors"},
    {"cursor", "events", "wire"},
    {"bodies", "grammar", "serial", "snapshot", "fields", "names", "requests", "reconnect", "config"},
    {"agents", "calls"},
    {"dialects"},
    {"log"},
    {"engine"},
    {"server", "client", "testing"},
    {"cli"},
    {"__main__"},
]
"""A part of the house may import from the rows above its own, and from itself."""

FORBIDDEN = {"client": {"log", "engine"}}
"""Beyond the order of layers."""

SIBLINGS = ["penstock.dialects", "penstock.log", "penstock.server.fronts"]
"""Packages whose modules do the same for different things, and do not know of each other."""

SHARED = {"penstock.log.stream"}
"""What siblings have in common, beside their package itself."""

PURE = set().union(*LAYERS[:5])
WORLDLY = {
    "aiohttp", "asyncio", "concurrent", "contextvars", "datetime", "glob", "http", "httpx2", "logging",
    "mcp", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors", "shutil", "signal",
    "socket", "sqlite3", "ssl", "starlette", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
    "uuid", "uvicorn",
}  # fmt: skip
"""Modules through which a clock, chance, the disk or the network comes in."""

EXCUSED = {"penstock.config": {"os", "pathlib"}}  # the environment, as a default; files of secrets

FILE_LINES, FUNCTION_LINES = 400, 40
VAGUE = re.compile(r"(util|helper|manager|handler|base|common|misc)s?$")


class Module:
    """One source file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        inside = path.relative_to(SOURCES).with_suffix("")
        self.is_package = path.stem == "__init__"
        self.name = ".".join(inside.parts[:-1] if self.is_package else inside.parts)
        self.text = path.read_text()
        self.tree = ast.parse(self.text)

    def __repr__(self) -> str:
        return self.name

    @property
    def part(self) -> str:
        """The part of the house it is in; empty for the house itself."""
        return part_of(self.name)

    @cached_property
    def imports(self) -> set[str]:
        """Modules of the house that it imports, and the top-level names of all others."""
        return {found for node in ast.walk(self.tree) for found in self._imported(node)}

    def _imported(self, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import(names=names):
                yield from (outermost(alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=0):
                yield from (resolved(module or "", alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                origin = ".".join([*self._above(level), *([module] if module else [])])
                yield from (resolved(origin, alias.name) for alias in names)

    def _above(self, level: int) -> list[str]:
        """The package that so many dots stand for."""
        names = self.name.split(".")
        return names[: len(names) - level + self.is_package]

    @cached_property
    def code_lines(self) -> set[int]:
        """Lines that are not blank, comment or docstring."""
        silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
                  tokenize.ENDMARKER}  # fmt: skip
        spoken = {
            line
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline)
            if token.type not in silent
            for line in range(token.start[0], token.end[0] + 1)
        }
        return spoken - {line for node in ast.walk(self.tree) if is_docstring(node) for line in span(node)}

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (n for n in ast.walk(self.tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))

    @property
    def taken(self) -> Iterator[tuple[str, str]]:
        """Names that it imports from modules of the house."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                origin = ".".join([*self._above(node.level), *([node.module] if node.module else [])])
                yield from ((origin, a.name) for a in node.names if f"{origin}.{a.name}" not in NAMES)

    @property
    def named(self) -> set[str]:
        """Names that it defines or imports."""
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        defined = {node.name for node in self.tree.body if isinstance(node, kinds)}
        assigned = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}
        imported = {alias.asname or alias.name for node in ast.walk(self.tree)
                    if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
        return defined | assigned | imported

    @property
    def public(self) -> list[str] | None:
        """What ``__all__`` says."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                found: list[str] = ast.literal_eval(node.value)
                return found
        return None


def outermost(name: str) -> str:
    return name if name in NAMES else name.partition(".")[0]


def resolved(origin: str, name: str) -> str:
    """What ``from origin import name`` makes one depend on."""
    return f"{origin}.{name}" if f"{origin}.{name}" in NAMES else outermost(origin)


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def is_docstring(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def span(node: ast.AST) -> Iterable[int]:
    assert isinstance(node, ast.stmt)
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


PATHS = sorted(SOURCES.rglob("*.py"))
NAMES = {".".join(p.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__") for p in PATHS}
MODULES = [Module(path) for path in PATHS]

every_module = pytest.mark.parametrize("module", MODULES, ids=repr)
every_pure_module = pytest.mark.parametrize("module", [m for m in MODULES if m.part in PURE], ids=repr)


def layer(part: str) -> int:
    return next(n for n, parts in enumerate(LAYERS) if part in parts)


def test_every_part_of_the_house_has_its_place() -> None:
    assert {module.part for module in MODULES} - {""} <= set().union(*LAYERS)
    assert len(MODULES) > 30, "the sources are where they are looked for"


@every_module
def test_imports_point_one_way(module: Module) -> None:
    inside = {part_of(name) for name in module.imports & NAMES} - {module.part, ""}
    if module.part:
        assert {part for part in inside if layer(part) >= layer(module.part)} == set()
    assert inside & FORBIDDEN.get(module.part, set()) == set()


def sibling(name: str) -> tuple[str, str] | None:
    """The package of siblings that a module is in, and which of them it is."""
    for package in SIBLINGS:
        if name.startswith(f"{package}.") and name not in SHARED:
            return package, name.removeprefix(f"{package}.").partition(".")[0]
    return None


@every_module
def test_siblings_do_not_know_each_other(module: Module) -> None:
    own = sibling(module.name)
    others = {found for name in module.imports if (found := sibling(name)) and own and found[0] == own[0]}
    assert others <= {own}


def test_there_are_no_cycles() -> None:
    graph = {module.name: module.imports & NAMES - {module.name} for module in MODULES}
    while leaves := {name for name, imports in graph.items() if not imports & graph.keys()}:
        graph = {name: imports for name, imports in graph.items() if name not in leaves}
    assert graph == {}, "what is left is in a cycle, or depends on one"


# -- purity


@every_pure_module
def test_the_core_knows_no_world(module: Module) -> None:
    assert module.imports & WORLDLY <= EXCUSED.get(module.name, set())


@every_pure_module
def test_the_core_waits_for_nothing_and_opens_nothing(module: Module) -> None:
    waits = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    assert [ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, waits)] == []
    called = {node.func.id for node in ast.walk(module.tree)
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert called & {"open", "print", "input", "exec", "eval", "breakpoint"} == set()


# -- budgets


@every_module
def test_a_file_is_not_too_long(module: Module) -> None:
    assert len(module.code_lines) <= FILE_LINES


@every_module
def test_a_function_is_not_too_long(module: Module) -> None:
    lengths = {function.name: len(module.code_lines & set(span(function))) for function in module.functions}
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


# -- manners


@every_module
def test_a_module_is_called_what_it_is(module: Module) -> None:
    assert not any(VAGUE.fullmatch(word) for word in re.split(r"[._]", module.name))


@every_module
def test_a_module_says_what_it_is_for(module: Module) -> None:
    assert (ast.get_docstring(module.tree) or "").strip()


def order(name: str) -> tuple[int, str]:
    """The order of ``__all__``: constants, classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


PUBLIC = {module.name: module.public for module in MODULES}


@every_module
def test_what_is_listed_is_there_and_in_order(module: Module) -> None:
    listed = module.public or []
    assert listed == sorted(set(listed), key=order)
    assert set(listed) <= module.named


@every_module
def test_what_is_used_elsewhere_is_listed(module: Module) -> None:
    unlisted = {(origin, name) for origin, name in module.taken if name not in (PUBLIC[origin] or ())}
    assert unlisted == set()


def test_the_rows_of_the_table_are_apart() -> None:
    assert all(not above & below for above, below in pairwise(LAYERS))
