"""
Tools that are HTTP endpoints.

Rule 1: a request goes to the addresses that were checked for it, and nowhere else:
names are not looked up again, redirects are not followed, no proxy is asked.
Rule 2: it is sent once. Only where no connection came about is the next address tried.
Rule 3: a secret travels to its own hosts alone, over TLS unless the host is the
operator's own, and what comes back is shown without it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection
from typing import Any, Final

import httpx2

from ... import __version__
from ...errors import Unprocessable
from ...requests import Tool
from ...wire import jsontext
from . import Asking, ToolFault
from .addresses import Resolve, addresses, listed, resolve
from .endpoint import Asked, Endpoint, endpoint, filled
from .secrets import Secrets, is_reference

__all__ = ["HttpTools"]

_CONNECT: Final = 10.0
"""Seconds for a connection, TLS included; for the rest the tool's own limit holds."""
_MAX_BODY: Final = 1024 * 1024
_SHOWN: Final = 1000
"""Characters of an error's body that the model is told."""


class HttpTools:
    """
    Runs tools whose ``setup`` is an :class:`~.endpoint.Endpoint`.

    See :class:`penstock.engine.tools.Toolbox`.
    """

    def __init__(self, secrets: Secrets, hosts: Collection[str] = (), *, resolve: Resolve = resolve) -> None:
        """
        Args:
            hosts: those that need not be on the public internet, as ``name`` or ``name:port``.
        """
        self._secrets, self._hosts, self._resolve = secrets, tuple(hosts), resolve
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def run(self, tool: Tool, arguments: dict[str, Any], asking: Asking) -> Any:
        try:
            target = endpoint(tool.setup)
        except Unprocessable as exc:
            raise ToolFault(exc.message) from exc
        asked = filled(target, arguments)
        asked = asked._replace(host=_ascii(asked.host))
        found = await addresses(asked.host, asked.port, self._hosts, self._resolve)
        headers = httpx2.Headers(
            {"User-Agent": f"penstock/{__version__}", "Accept": "*/*", "Idempotency-Key": asking.digest}
        )
        headers.update(asked.headers)
        headers.update(self._secret_headers(target, asked))
        headers["Accept-Encoding"] = "identity"
        return await self._answer(await self._send(asked, headers, found))

    async def aclose(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def _secret_headers(self, target: Endpoint, asked: Asked) -> dict[str, str]:
        references = {name: text for name, text in target.headers.items() if is_reference(text)}
        if references and not asked.secure and not listed(asked.host, asked.port, self._hosts):
            raise ToolFault(f"a secret goes to {asked.host!r} over https only")
        return {name: self._secrets.filled(text, asked.host, asked.port) for name, text in references.items()}

    async def _send(self, asked: Asked, headers: httpx2.Headers, found: Collection[str]) -> httpx2.Response:
        transport = self._transport = self._transport or await _transport()
        why: Exception = OSError("there is no address")
        for address in found:
            try:
                return await transport.handle_async_request(_request(asked, headers, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
                why = exc
            except httpx2.HTTPError as exc:
                raise ToolFault(f"{asked.host} gave no answer: {self._secrets.said(exc)}") from exc
        raise ToolFault(f"no connection to {asked.host}:{asked.port}: {self._secrets.said(why)}") from why

    async def _answer(self, response: httpx2.Response) -> Any:
        try:
            data, cut = await _read(response)
        except httpx2.HTTPError as exc:
            raise ToolFault(f"the answer broke off: {self._secrets.said(exc)}") from exc
        finally:
            await response.aclose()
        status = response.status_code
        value = _value(response.headers.get("content-type", ""), self._secrets.hide(data), cut)
        if 300 <= status < 400 and (location := response.headers.get("location")):
            shown = self._secrets.hide(location.encode()).decode()
            raise ToolFault(
                f"the endpoint answered {status}: it is at {shown} now; redirects are not followed"
            )
        if status >= 300:
            said = value if isinstance(value, str) else jsontext.encode(value).decode()
            raise ToolFault(f"the endpoint answered {status}: {said[:_SHOWN]}")
        return value


async def _transport() -> httpx2.AsyncHTTPTransport:
    context = await asyncio.to_thread(ssl.create_default_context)
    # A connection is known by its address here; kept, one made for a name could serve another name.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)


def _ascii(host: str) -> str:
    """Return a host as it is looked up, checked and written: in lower case, by IDNA, without brackets."""
    try:
        return httpx2.URL(scheme="http", host=host.strip("[]")).raw_host.decode("ascii")
    except httpx2.InvalidURL as exc:
        raise ToolFault(f"{host!r} is not the name of a host") from exc


def _request(asked: Asked, headers: httpx2.Headers, address: str) -> httpx2.Request:
    """Return the request to one address of the host; TLS and the Host header have the name."""
    scheme = "https" if asked.secure else "http"
    name = httpx2.URL(scheme=scheme, host=asked.host, port=asked.port)
    return httpx2.Request(
        asked.method,
        name.copy_with(host=address, raw_path=asked.target.encode("ascii")),
        headers=[("Host", name.netloc.decode("ascii")), *headers.multi_items()],
        content=asked.body or None,
        extensions={"sni_hostname": asked.host, "timeout": {"connect": _CONNECT}},
    )


async def _read(response: httpx2.Response) -> tuple[bytes, bool]:
    """Return the body, and whether there was more of it than is read."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ToolFault("the endpoint answered in an encoding that was not asked for")
    data = b""
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > _MAX_BODY:
            return data[:_MAX_BODY], True
    return data, False


def _value(content_type: str, data: bytes, cut: bool) -> Any:
    """Return what a body means: the value of JSON, text, or a description of anything else."""
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    mark = f"… [cut after {_MAX_BODY} bytes]" if cut else ""
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return jsontext.decode(data) if data else None
        except ValueError:
            return data.decode("utf-8", "replace") + mark
    if not data:
        return None
    if (
        kind.startswith("text/")
        or kind.endswith(("+xml", "/xml", "json", "/javascript", "/yaml"))
        or not kind
    ):
        return _decoded(data, parameters) + mark
    return f"[{kind}, {'more than ' if cut else ''}{len(data)} bytes]"


def _decoded(data: bytes, parameters: str) -> str:
    name, _, charset = parameters.strip().partition("=")
    if name.lower() == "charset":
        try:
            return data.decode(charset.strip('"'), "replace")
        except (LookupError, ValueError):
            pass
    return data.decode("utf-8", "replace")
