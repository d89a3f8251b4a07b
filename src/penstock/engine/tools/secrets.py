"""
Secrets that tools send without knowing them.

A header names one, ``secret:NAME`` or ``Bearer secret:NAME``; the value is put in
when the request is made, and only if the request goes to a host the secret is for.

Rule: what came back is never shown before :meth:`Secrets.hide` has seen it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from ...config import SecretSettings, secret
from ...errors import ConfigError
from ...wire import jsontext
from . import ToolFault
from .addresses import listed

__all__ = ["Secrets", "is_reference"]

_REFERENCE: Final = re.compile(r"(?P<before>(?:[^\s:{}]+ )?)secret:(?P<name>[^\s{}]+)")
_HIDDEN: Final = b"***"


class Secrets:
    """The secrets of a server, by name."""

    def __init__(
        self, described: Mapping[str, SecretSettings], environ: Mapping[str, str] = os.environ
    ) -> None:
        """Raises: ConfigError (a value is not where its setting says, or cannot be sent)."""
        self._hosts = {name: entry.hosts for name, entry in described.items()}
        self._values = {
            name: secret(entry.value, environ, f"secrets.{name}.value") for name, entry in described.items()
        }
        for name, value in self._values.items():
            if not (value.isascii() and value.isprintable()):
                raise ConfigError(
                    f"the secret {name!r} is not printable ASCII, so no header can hold it",
                    field=f"secrets.{name}.value",
                )
        forms = {form for value in self._values.values() for form in _forms(value)}
        self._forms = sorted(forms, key=len, reverse=True)  # one secret may be the beginning of another

    def filled(self, text: str, host: str, port: int) -> str:
        """
        Return a header's value with the secret it refers to, or as it is.

        Raises:
            ToolFault: there is no such secret, or it is not for this host.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            return text
        name = found["name"]
        if name not in self._values:
            raise ToolFault(f"there is no secret {name!r} in the settings")
        if not listed(host, port, self._hosts[name]):
            raise ToolFault(f"the secret {name!r} is not for the host {host!r}")
        return found["before"] + self._values[name]

    def hide(self, data: bytes) -> bytes:
        """Return ``data`` without the secrets that are in it."""
        for form in self._forms:
            data = data.replace(form, _HIDDEN)
        return data

    def said(self, exc: BaseException) -> str:
        """Return what an exception, or the first of a group, says, without the secrets that are in it."""
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        return self.hide((str(exc) or type(exc).__name__).encode("utf-8", "replace")).decode()


def is_reference(text: str) -> bool:
    """Whether ``text``, a header's value, stands for a secret."""
    return _REFERENCE.fullmatch(text) is not None


def _forms(value: str) -> set[bytes]:
    """How ``value`` may be written: plainly, or in JSON, where some escape slashes too."""
    quoted = jsontext.quote(value)[1:-1]
    return {value.encode(), quoted, quoted.replace(b"/", rb"\/")}
