"""
A type of the caller's, filled as far as its value has come.

A draft is an instance that was not validated, and ran nothing of the caller's
(``__post_init__``, validators): what is missing is the field's default, or None. A text may be
half there; numbers, dates and members of enumerations are there or not. Each draft
is a value of its own, that may be kept. Only the whole is validated.
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as dataclass_fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from msgspec import NODEFAULT, Struct, ValidationError, convert, defstruct
from msgspec.structs import fields as struct_fields

from ..errors import OutputInvalid

__all__ = ["draft", "validated"]

_T = TypeVar("_T")


class _Field(NamedTuple):
    """A field of a caller's type."""

    name: str
    key: str
    """What it is called in JSON."""
    default: Callable[[], Any]


def validated(kind: type[_T], value: Any) -> _T:
    """Return ``value``, a plain JSON value, as ``kind``. Raises: OutputInvalid."""
    try:
        model: Any = kind
        found: _T = model.model_validate(value) if hasattr(kind, "model_validate") else convert(value, kind)
    except ValueError as exc:  # msgspec's error is one, and pydantic's too
        raise OutputInvalid(f"the answer is not a {_name(kind)}: {exc}") from exc
    return found


def draft(kind: Any, value: Any) -> Any:
    """Return ``value``, a part of a plain JSON value, as ``kind`` as far as that goes."""
    match get_origin(kind), get_args(kind):
        case (origin, (inner, *_)) if origin is Annotated:
            return draft(inner, value)
        case (origin, kinds) if origin is Union or origin is UnionType:
            return _any_of([each for each in kinds if each is not NoneType], value)
        case (origin, (inner, *rest)) if origin in _SEQUENCES and isinstance(value, list):
            kinds = (inner, *rest) if origin is tuple and rest != [...] else (inner,) * len(value)
            return origin(draft(each, item) for each, item in zip(kinds, value, strict=False))
        case (origin, (_, inner)) if isinstance(origin, type) and issubclass(origin, Mapping):
            return (
                {key: draft(inner, item) for key, item in value.items()} if isinstance(value, dict) else None
            )
        case _ if isinstance(value, dict) and (known := _fields(kind)) is not None:
            return _filled(kind, known, value)
        case _:
            return _leaf(kind, value)


_SEQUENCES: Final = (list, tuple, set, frozenset)


def _any_of(kinds: list[Any], value: Any) -> Any:
    """Of several kinds, return what one alone can be meant: the one with fields for an object."""
    if value is None:
        return None
    if isinstance(value, dict | list):
        wanted = [kind for kind in kinds if (_fields(kind) is not None) == isinstance(value, dict)]
        return draft(wanted[0], value) if len(wanted) == 1 else copy.deepcopy(value)
    drafts = (draft(kind, value) for kind in kinds if _fields(kind) is None)
    return next((each for each in drafts if each is not None), None)


def _leaf(kind: Any, value: Any) -> Any:
    if kind is Any or kind is object:
        return copy.deepcopy(value)
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else None
    try:
        return convert(value, kind)
    except ValidationError:
        return None
    except TypeError:  # a type that is another library's to check
        return copy.deepcopy(value)


def _fields(kind: Any) -> list[_Field] | None:
    """Return the fields that an object of this kind has; None: it is no such kind."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, Struct):
        return [
            _Field(each.name, each.encode_name, _default(each.default, each.default_factory, NODEFAULT))
            for each in struct_fields(kind)
        ]
    if hasattr(kind, "model_fields"):
        return [
            _Field(name, each.alias or name, lambda each=each: _pydantic_default(each))  # type: ignore[misc]
            for name, each in kind.model_fields.items()
        ]
    if is_dataclass(kind):
        return [
            _Field(each.name, each.name, _default(each.default, each.default_factory, MISSING))
            for each in dataclass_fields(kind)
        ]
    return None


def _default(value: Any, factory: Any, none: Any) -> Callable[[], Any]:
    if factory is not none:
        made: Callable[[], Any] = factory
        return made
    return lambda: None if value is none else value


def _pydantic_default(field: Any) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _filled(kind: Any, known: list[_Field], value: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    members = {
        field.name: draft(hints[field.name], value[field.key]) if field.key in value else field.default()
        for field in known
    }
    if hasattr(kind, "model_construct"):
        given = {field.name for field in known if field.key in value}
        return kind.model_construct(_fields_set=given, **members)
    if issubclass(kind, Struct):
        return _unchecked(kind)(**members)
    made: Any = object.__new__(kind)
    for name, member in members.items():
        object.__setattr__(made, name, member)
    return made


@cache
def _unchecked(kind: type[Struct]) -> type[Struct]:
    """Return ``kind``, or one that is like it but for what it does once it has all its fields."""
    if not hasattr(kind, "__post_init__"):
        return kind
    namespace = {"__post_init__": lambda self: None, "__module__": kind.__module__}
    return defstruct(kind.__name__, [], bases=(kind,), namespace=namespace)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
