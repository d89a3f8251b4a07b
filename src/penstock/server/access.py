"""
Who may do what.

Without keys the server is for this machine alone: it listens on loopback, and a
request whose Host or Origin is foreign is refused, because a web page can make
a browser send one (DNS rebinding, drive-by posts). With keys, a key decides.

A key is ``penstock_live_<id>_<secret>``; the secret has 256 random bits, so a
plain SHA-256 of it is enough to store.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from hmac import compare_digest
from pathlib import Path
from typing import Final, get_args

from msgspec import DecodeError, Struct, json

from ..errors import ConfigError, Forbidden, Unauthorized
from ..requests import Scope

__all__ = ["Access", "Key", "Keys", "is_loopback"]

_SHAPE: Final = "penstock_live_"
_HEADERS: Final = ("x-api-key", "api-key", "x-opper-api-key", "x-modelrelay-api-key")
"""Where SDKs put a key that is not in ``Authorization``."""
_PREFIX: Final = "mr_sk_"
"""What ModelRelay's SDKs insist that a key begins with; in front of one of ours it says nothing."""
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]", "::1")


class Key(Struct, frozen=True):
    """What is stored of an API key."""

    id: str
    digest: str
    scopes: tuple[Scope, ...]
    name: str = ""
    created_at: float = 0.0


class Keys:
    """The API keys in a file, read anew whenever it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def __bool__(self) -> bool:
        """Whether there is any key. Raises: ConfigError (the file cannot be read)."""
        self._refresh()
        return bool(self._keys)

    def all(self) -> list[Key]:
        """Return every key. Raises: ConfigError (the file cannot be read)."""
        self._refresh()
        return list(self._keys.values())

    def _refresh(self) -> None:
        try:
            stat = os.stat(self._path)
        except FileNotFoundError:
            self._keys, self._stamp = {}, None
            return
        if self._stamp == (stat.st_mtime_ns, stat.st_ino):
            return
        try:
            found = json.decode(self._path.read_bytes(), type=list[Key])
        except (OSError, DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"the key file {self._path} cannot be read: {exc}") from exc
        self._keys = {key.id: key for key in found}
        self._stamp = (stat.st_mtime_ns, stat.st_ino)

    def create(self, name: str, scopes: Sequence[Scope]) -> str:
        """Make a key and return it: the only time it can be seen."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        key = Key(key_id, _digest(secret), tuple(scopes), name, time.time())
        self._write([*self.all(), key])
        return f"{_SHAPE}{key_id}_{secret}"

    def revoke(self, key_id: str) -> bool:
        """Forget a key; say whether there was one."""
        before = self.all()
        after = [key for key in before if key.id != key_id]
        self._write(after)
        return len(after) < len(before)

    def find(self, token: str) -> Key | None:
        """Return the key that ``token`` is, or None, as of the last look at the file."""
        key_id, _, secret = token.removeprefix(_SHAPE).partition("_")
        key = self._keys.get(key_id)
        genuine = compare_digest(_digest(secret), key.digest if key else "")
        return key if genuine and token.startswith(_SHAPE) else None

    def _write(self, keys: Sequence[Key]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.format(json.encode(keys)))
        draft.replace(self._path)


class Access:
    """Decides about requests."""

    def __init__(self, keys: Keys, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        self._keys, self._hosts, self._origins = keys, hosts, origins

    def admit(self, headers: Mapping[str, str], scope: Scope) -> str:
        """
        Return who is asking: the id of a key, or "" where no keys are set up.

        Raises:
            Unauthorized, Forbidden.
        """
        if not self._keys:
            self._check_local(headers)
            return ""
        tokens = list(_tokens(headers))
        if not tokens:
            raise Unauthorized("there is no API key in the request: send `Authorization: Bearer <key>`")
        key = next((key for token in tokens if (key := self._keys.find(token))), None)
        if key is None:
            raise Unauthorized("this API key is not one of ours, or was revoked")
        if scope not in key.scopes and "admin" not in key.scopes:
            raise Forbidden(f"this API key does not have the scope {scope!r}")
        return key.id

    def _check_local(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "")
        if not is_loopback(_host_of(host)) and _host_of(host) not in self._hosts:
            raise Forbidden(
                f"without API keys only requests for this machine are answered, not for the host {host!r}: "
                "create a key (`penstock keys create`), or name the host in `allowed_hosts`"
            )
        origin = headers.get("origin")
        if origin and origin not in self._origins and not is_loopback(_host_of(origin.partition("://")[2])):
            raise Forbidden(
                f"without API keys only pages of this machine may call, not {origin!r}: "
                "create a key (`penstock keys create`), or name the page in `allowed_origins`"
            )


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine and no other."""
    return host in _LOOPBACK or host.endswith(".localhost")


def _host_of(authority: str) -> str:
    """Return a Host header's name without its port."""
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0].lower()


def _tokens(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield what may be a key: some SDKs send two credentials at once."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    for found in (bearer, *(headers.get(name) or "" for name in _HEADERS)):
        if found:
            yield found.removeprefix(_PREFIX)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


ALL_SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
