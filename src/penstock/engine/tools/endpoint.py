"""
What an HTTP tool's setup says, and the request that it and the arguments make.

``{name}`` and ``{{name}}`` stand for an argument, in the path and the query of the
URL, in headers and in the body. One that is a whole value takes the argument as
it is, or leaves the member out if there is none; within a text it must be there.
Arguments that the setup does not mention go into the query, or into the body.

Rule 1: arguments come from a model. None can change where a request goes, how
its path is cut, which headers it has, or what the setup says itself.
Rule 2: a text is never spliced into a grammar: a body that has one is a value here.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from msgspec import UNSET, Struct, UnsetType, ValidationError, convert, json

from ...errors import Unprocessable
from ...wire import jsontext
from . import ToolFault
from .secrets import is_reference

__all__ = ["Asked", "Endpoint", "endpoint", "filled"]

_PLACE: Final = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}|\{([A-Za-z_][\w.-]*)\}")
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]@:/?#\\{}%]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_OURS: Final = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding",
     "upgrade", "accept-encoding")
)  # fmt: skip
"""Headers that say how the message is sent, or to whom; a setup has no say in them."""
_KEPT: Final = "/%:@!$&'()*+,;=~"
"""What the literal part of a path may have as it is, beside letters, digits and ``-._~``: RFC 3986, 3.3."""
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_FORM: Final = "application/x-www-form-urlencoded"


class Endpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """An HTTP tool's setup."""

    url: str
    """With ``http`` or ``https``, and a host that is fixed."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = {}
    """A value may be ``secret:NAME``, after one word and a space if need be."""
    query: dict[str, Any] = {}
    body: Any = UNSET
    """Goes out as JSON, or as a form if ``headers`` say so; a text goes out as plain text."""


class Asked(NamedTuple):
    """A request, without the headers that are secrets."""

    method: str
    secure: bool
    host: str
    port: int
    target: str
    """Path and query, as they are sent."""
    headers: dict[str, str]
    body: bytes


def endpoint(setup: Mapping[str, Any]) -> Endpoint:
    """
    Return what ``setup`` says.

    Raises:
        Unprocessable: it cannot be; ``field`` names the member.
    """
    try:
        found = convert(setup, Endpoint)
    except ValidationError as exc:
        what, _, path = str(exc).partition(" - at `$")
        raise _wrong(path.rstrip("`").lstrip("."), what) from exc
    where = _URL.fullmatch(found.url)
    if where is None or not 0 < int(where["port"] or 80) < 65536:
        raise _wrong("url", "it must be http(s)://host/path, with a host that is fixed and no password")
    for name, value in found.headers.items():
        _check_header(name, value)
    _check_body(found.body, _media_type(found.headers))
    return found


def filled(endpoint: Endpoint, arguments: Mapping[str, Any]) -> Asked:
    """
    Return the request that calling ``endpoint`` with ``arguments`` is.

    Raises:
        ToolFault: an argument is missing, or cannot be where it would have to be.
    """
    where = _URL.fullmatch(endpoint.url)
    assert where is not None, "checked when the endpoint was read"
    path, secure = where["path"] or "/", where["scheme"].lower() == "https"
    query = [*parse_qsl(where["query"] or "", keep_blank_values=True), *endpoint.query.items()]
    templates = [path, *(template for _, template in query), endpoint.headers, endpoint.body]
    mentioned = set(_names(templates))
    rest = {name: value for name, value in arguments.items() if name not in mentioned}
    takes = endpoint.method in _WITH_BODY and isinstance(endpoint.body, dict | UnsetType)
    in_query, in_body = ({}, rest) if takes else (rest, {})
    headers = _headers(endpoint.headers, arguments)
    kind, body = _body(endpoint.body, _media_type(headers), arguments, in_body)
    if kind:
        headers.setdefault("Content-Type", kind)
    target = "/".join(_segment(each, arguments) for each in path.split("/"))
    if pairs := _pairs(query, arguments, in_query):
        target += "?" + urlencode(pairs, quote_via=quote)
    port = int(where["port"] or (443 if secure else 80))
    return Asked(endpoint.method, secure, where["host"], port, target, headers, body)


# -- checking a setup


def _wrong(field: str, why: str) -> Unprocessable:
    where = f"setup.{field}" if field else "setup"
    return Unprocessable(f"{where!r} of an HTTP tool: {why}", field=where)


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
        raise _wrong(f"headers.{name}", "a tool cannot set this header")
    if not _sendable(value):
        raise _wrong(f"headers.{name}", "it must be printable ASCII")
    if "secret:" in value and not is_reference(value):
        raise _wrong(f"headers.{name}", "secret:NAME stands alone, or after one word and a space")


def _check_body(body: Any, kind: str) -> None:
    if body is UNSET or kind == "" or (_is_json(kind) and not _is_text(body)):
        return
    if _is_text(body):
        if kind != "text/plain" and _PLACE.search(body):
            raise _wrong(
                "body", f"a text of the type {kind!r} takes no arguments: they might break out of it"
            )
    elif not (kind == _FORM and isinstance(body, dict)):
        raise _wrong("body", f"a value goes out as JSON or as a form, not as {kind!r}")


def _is_text(body: Any) -> bool:
    """Whether a body goes out as it is; a lone argument goes out as the value it is."""
    return isinstance(body, str) and not _PLACE.fullmatch(body)


def _is_json(kind: str) -> bool:
    return kind == "application/json" or kind.endswith("+json")


def _sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _media_type(headers: Mapping[str, str]) -> str:
    found = (value for name, value in headers.items() if name.lower() == "content-type")
    return next(found, "").partition(";")[0].strip().lower()


def _names(template: Any) -> Iterator[str]:
    """The arguments that are mentioned anywhere in ``template``."""
    match template:
        case str():
            yield from (found[1] or found[2] for found in _PLACE.finditer(template))
        case dict():
            yield from _names(list(template.values()))
        case list():
            for each in template:
                yield from _names(each)


# -- filling it in


def _value(template: Any, arguments: Mapping[str, Any]) -> Any:
    """Return ``template`` with its arguments; UNSET if it is one that is not there."""
    match template:
        case str():
            whole = _PLACE.fullmatch(template)
            return arguments.get(whole[1] or whole[2], UNSET) if whole else _text(template, arguments)
        case dict():
            members = ((name, _value(each, arguments)) for name, each in template.items())
            return {name: value for name, value in members if value is not UNSET}
        case list():
            return [value for each in template if (value := _value(each, arguments)) is not UNSET]
        case _:
            return template


def _text(template: str, arguments: Mapping[str, Any]) -> str:
    return _PLACE.sub(lambda found: _plain(found[1] or found[2], arguments), template)


def _plain(name: str, arguments: Mapping[str, Any]) -> str:
    match arguments.get(name, UNSET):
        case str(text):
            return text
        case bool() | int() | float() as value:
            return json.encode(value).decode()
        case UnsetType():
            raise ToolFault(f"the argument {name!r} is missing")
        case _:
            raise ToolFault(f"the argument {name!r} must be a text or a number here")


def _segment(template: str, arguments: Mapping[str, Any]) -> str:
    """Return a piece of the path: no argument makes it vanish, or mean the folder above."""
    plain = _text(template, arguments)
    names = list(_names(template))
    if names and (not plain or {".", ".."} & set(re.split(r"[/\\]", plain))):
        raise ToolFault(f"the argument {names[0]!r} cannot be that: it is a part of a path")
    literals = _PLACE.split(template)[::3]  # each is followed by both groups of a place
    values = [quote(_plain(name, arguments), safe="") for name in names]
    return "".join(
        quote(text, safe=_KEPT) + value for text, value in zip_longest(literals, values, fillvalue="")
    )


def _headers(templates: Mapping[str, str], arguments: Mapping[str, Any]) -> dict[str, str]:
    headers = {}
    for name, template in templates.items():
        if is_reference(template) or (value := _value(template, arguments)) is UNSET:
            continue
        text = value if isinstance(value, str) else _text(template, arguments)
        if not _sendable(text):
            raise ToolFault(f"the header {name!r} can hold printable ASCII alone")
        headers[name] = text
    return headers


def _pairs(
    query: list[tuple[str, Any]], arguments: Mapping[str, Any], rest: Mapping[str, Any]
) -> list[tuple[str, str]]:
    _check_free(rest, {name for name, _ in query})
    said = [(name, _value(template, arguments)) for name, template in query]
    return [pair for name, value in (*said, *rest.items()) for pair in _spelled(name, value)]


def _spelled(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Return what a member is in a query or a form."""
    match value:
        case None | UnsetType():
            return
        case str():
            yield name, value
        case list():
            for each in value:
                yield from _spelled(name, each)
        case _:
            yield name, json.encode(value).decode()


def _body(
    template: Any, kind: str, arguments: Mapping[str, Any], rest: Mapping[str, Any]
) -> tuple[str, bytes]:
    """Return the type that a body has if nothing else is said, and the body."""
    if isinstance(template, dict):
        _check_free(rest, template)
    body = _value(template, arguments)
    if rest:
        body = {**({} if body is UNSET else body), **rest}
    if body is UNSET:
        return "", b""
    if _is_text(template) or (kind == "text/plain" and isinstance(body, str)):
        return "text/plain; charset=utf-8", body.encode()
    if kind == _FORM and isinstance(body, dict):
        return _FORM, urlencode(
            [pair for name, value in body.items() for pair in _spelled(name, value)]
        ).encode()
    return "application/json", jsontext.encode(body)


def _check_free(rest: Iterable[str], fixed: Container[str]) -> None:
    """An argument must not take the place of what the setup says."""
    for name in rest:
        if name in fixed:
            raise ToolFault(f"there is no argument {name!r}: the tool itself says what it is")
