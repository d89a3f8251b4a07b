"""
Tools that are Python functions of the process itself.

What the model is told about a function is read from its signature; what the model
says is converted to the types of the signature before the function sees it.

Rule: plain functions run in threads of their own, so that one that hangs holds up
nothing else. Python cannot stop a thread: one whose time is over runs on unheard.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from inspect import Parameter
from typing import Annotated, Any, Final, NamedTuple, TypeVar, get_args, get_origin, get_type_hints, overload

from msgspec import NODEFAULT, UNSET, Meta, Struct, ValidationError, convert, defstruct, field, json
from msgspec.structs import replace

from ...requests import Tool
from . import Asking, ToolFault

__all__ = ["Functions", "tool"]

_RUNNER: Final = "function"
_MARK: Final = "__penstock_tool__"
_NAME: Final = re.compile("[A-Za-z0-9_-]{1,64}")  # what OpenAI and Anthropic take for the name of a tool
_THREADS: Final = 64
_REFUSED: Final = {
    Parameter.POSITIONAL_ONLY: "is positional-only",
    Parameter.VAR_POSITIONAL: "takes any number of arguments",
    Parameter.VAR_KEYWORD: "takes any number of arguments",
}

_F = TypeVar("_F", bound=Callable[..., Any])


class _Described(NamedTuple):
    """A function as a tool."""

    tool: Tool
    arguments: type[Struct]
    """What a call must bring, by parameter."""
    asking: str
    """The parameter that is told which call it is; empty: none."""


@overload
def tool(function: _F) -> _F: ...
@overload
def tool(
    *,
    name: str = ...,
    description: str = ...,
    needs_review: bool = ...,
    idempotent: bool = ...,
    max_time: float | None = ...,
) -> Callable[[_F], _F]: ...
def tool(
    function: _F | None = None,
    *,
    name: str = "",
    description: str = "",
    needs_review: bool = False,
    idempotent: bool = False,
    max_time: float | None = None,
) -> _F | Callable[[_F], _F]:
    """
    Make a function, plain or async, a tool; it can be called as before.

    Each parameter needs a type that JSON can be converted to; what it is for is said by
    ``Annotated[T, "a sentence"]``. One of the type :class:`Asking` is not the model's: it
    is told which call it is.

    Args:
        name: what the model calls it; by default the function's own name.
        description: by default the first paragraph of the docstring.
        max_time: a shorter limit than the server's own, in seconds.
    Raises:
        TypeError: the model could not call it: a parameter has no type, or is ``*args``, say.
    """
    limit = UNSET if max_time is None else max_time

    def mark(function: _F) -> _F:
        told = Tool(
            name or getattr(function, "__name__", ""),
            description or _first_paragraph(function),
            runner=_RUNNER,
            needs_review=needs_review,
            idempotent=idempotent,
            max_time=limit,
        )
        setattr(function, _MARK, _described(function, told))
        return function

    return mark if function is None else mark(function)


class Functions:
    """Runs functions that :func:`tool` has marked. See :class:`penstock.engine.tools.Toolbox`."""

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        """
        Raises:
            TypeError: one is no tool.
            ValueError: two have the same name.
        """
        self._functions: dict[str, tuple[Callable[..., Any], _Described]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "penstock-tool")
        for function in functions:
            described = getattr(function, _MARK, None)
            if not isinstance(described, _Described):
                raise TypeError(f"{function!r} is no tool: decorate it with `tool`")
            if described.tool.name in self._functions:
                raise ValueError(f"there are two functions of the name {described.tool.name!r}")
            self._functions[described.tool.name] = function, described

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model is told about the functions, in their order."""
        return tuple(described.tool for _, described in self._functions.values())

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        if tool.name not in self._functions:
            raise ToolFault(f"this server has no function {tool.name!r}")
        function, described = self._functions[tool.name]
        given = _converted(arguments, described)
        if described.asking:
            given[described.asking] = asking
        if inspect.iscoroutinefunction(function):
            return await function(**given)
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        result = await loop.run_in_executor(self._threads, context.run, _call, function, given)
        return await result if inspect.isawaitable(result) else result

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _call(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    try:
        return function(**given)
    except StopIteration as exc:  # a future cannot carry one: whoever waits would wait for ever
        raise RuntimeError("the function raised StopIteration") from exc


def _converted(arguments: dict[str, Any], described: _Described) -> dict[str, Any]:
    try:
        found = convert(arguments, described.arguments)
    except ValidationError as exc:
        raise ToolFault(f"the arguments do not fit: {str(exc).replace('`$.', '`')}") from exc
    return {name: getattr(found, name) for name in described.arguments.__struct_fields__}


# -- reading a signature


def _described(function: Callable[..., Any], told: Tool) -> _Described:
    if not _NAME.fullmatch(told.name):
        raise TypeError(f"a tool cannot be called {told.name!r}: letters, digits, _ and -, at most 64")
    parameters = _parameters(function, told.name)
    asking = next((name for name, (hint, _) in parameters.items() if hint is Asking), "")
    parameters.pop(asking, None)
    try:
        arguments = defstruct(
            "Arguments",
            [(name, hint, _default(value)) for name, (hint, value) in parameters.items()],
            kw_only=True,
            forbid_unknown_fields=True,
        )
        schema = _schema(arguments, {name: value for name, (_, value) in parameters.items()})
    except TypeError as exc:
        raise TypeError(f"{told.name!r} cannot be a tool: {exc}") from exc
    return _Described(replace(told, parameters=schema), arguments, asking)


def _parameters(function: Callable[..., Any], name: str) -> dict[str, tuple[Any, Any]]:
    """Return type and default of each parameter. Raises: TypeError."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise TypeError(
            f"{name!r} cannot be a tool: its signature has a type not known there: {exc}"
        ) from exc
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind in _REFUSED:
            raise TypeError(f"{name!r} cannot be a tool: `{parameter}` {_REFUSED[parameter.kind]}")
        if parameter.name not in hints:
            raise TypeError(f"{name!r} cannot be a tool: `{parameter}` has no type")
    return {each.name: (_with_sentence(hints[each.name]), each.default) for each in parameters.values()}


def _with_sentence(hint: Any) -> Any:
    """Return ``hint`` with each text in its ``Annotated`` as a description."""
    if get_origin(hint) is not Annotated:
        return hint
    of, *notes = get_args(hint)
    return Annotated[(of, *(Meta(description=note) if isinstance(note, str) else note for note in notes))]


def _default(value: Any) -> Any:
    # By a factory: the function gets the very object that it would get from Python.
    return NODEFAULT if value is Parameter.empty else field(default_factory=lambda: value)


def _schema(arguments: type[Struct], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of ``arguments``; ``defaults`` are said as far as they are JSON."""
    (root,), components = json.schema_components([arguments])
    schema = components.pop(root["$ref"].rpartition("/")[2])
    for name, value in defaults.items():
        if value is not None and value is not Parameter.empty:
            with suppress(TypeError, ValueError, RecursionError):
                schema["properties"][name]["default"] = json.decode(json.encode(value))
    members = {name: schema[name] for name in ("type", "properties", "required", "additionalProperties")}
    return {**members, "$defs": components} if components else members


def _first_paragraph(function: Callable[..., Any]) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
