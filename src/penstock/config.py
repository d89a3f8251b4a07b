"""
Every setting, with its sentence.

A value comes from a flag, else from the environment (``PENSTOCK_PORT``), else
from the file (TOML), else it is the default; :func:`load` remembers which. An
unknown name is an error that says which one may be meant. Secrets are never
values: ``env:NAME`` and ``file:/path`` say where they are.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from msgspec import Meta, Struct, ValidationError, convert, field
from msgspec.structs import fields

from .errors import ConfigError

__all__ = [
    "Loaded",
    "McpSettings",
    "SecretSettings",
    "Settings",
    "UpstreamSettings",
    "describe",
    "load",
    "secret",
]

_PREFIX: Final = "PENSTOCK_"


class UpstreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[upstreams.NAME]``: either ``url`` or ``replay``."""

    dialect: Annotated[str, Meta(description="The wire it speaks.")] = "openai-chat"
    url: Annotated[str, Meta(description="Base URL, as its own SDK would be given it.")] = ""
    key: Annotated[str, Meta(description="Where its API key is: env:NAME or file:/path.")] = ""
    models: Annotated[
        dict[str, str], Meta(description="Model names callers use -> names it uses; * is any, and the same.")
    ] = field(default_factory=lambda: {"*": "*"})
    headers: Annotated[dict[str, str], Meta(description="Further request headers.")] = {}
    retries: Annotated[int, Meta(description="Tries after the first, before the first byte.", ge=0)] = 2
    finish_required: Annotated[
        bool, Meta(description="Whether an answer without a finish reason is truncated (Snowflake: false).")
    ] = True
    replay: Annotated[str, Meta(description="A recording, or a folder of them by model name.")] = ""
    pace: Annotated[float, Meta(description="Frames per second of a replay; 0: no pause.", ge=0)] = 0.0


class SecretSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[secrets.NAME]``: what a tool's header means by ``secret:NAME``."""

    value: Annotated[str, Meta(description="Where it is: env:NAME or file:/path.")] = ""
    hosts: Annotated[
        tuple[str, ...], Meta(description="The hosts it is sent to, by name or name:port, and no others.")
    ] = ()


class McpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One ``[mcp.NAME]``: either ``command`` or ``url``.

    What a server says of its own tools is a hint (the protocol's own word), so all of
    them need a review but those that are trusted here.
    """

    command: Annotated[
        tuple[str, ...], Meta(description="A server to start and to speak to over its stdin and stdout.")
    ] = ()
    env: Annotated[
        dict[str, str], Meta(description="Its environment: values, or env:NAME and file:/path for secrets.")
    ] = {}
    url: Annotated[str, Meta(description="A server that runs already, spoken to over streamable HTTP.")] = ""
    headers: Annotated[
        dict[str, str], Meta(description="Further request headers; secret:NAME stands for a secret.")
    ] = {}
    trusted: Annotated[
        tuple[str, ...], Meta(description="Those of its tools that run without a review; * is all.")
    ] = ()
    max_time: Annotated[
        float, Meta(description="Longest one of its tools may take; 0: as long as any tool.", ge=0)
    ] = 0.0


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times are seconds, sizes are bytes."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on; 0: any free one.", ge=0, le=65535)] = 8017
    data: Annotated[str, Meta(description="Folder of the log and the keys.")] = "./penstock-data"
    durability: Annotated[
        Literal["process", "power"],
        Meta(description="What an acknowledged event survives: a killed process, or a power cut too."),
    ] = "process"
    commit_window: Annotated[
        float, Meta(description="How long a commit waits for company.", ge=0, le=0.1)
    ] = 0.001
    retention: Annotated[float, Meta(description="How long answers are kept; 0: for ever.", ge=0)] = 0.0
    default_model: Annotated[str, Meta(description="The model for requests that name no known one.")] = ""
    upstreams: Annotated[
        dict[str, UpstreamSettings], Meta(description="Model endpoints; none: the built-in model.")
    ] = {}
    max_body: Annotated[int, Meta(description="Largest request body.", ge=1024)] = 32 * 2**20
    max_runs: Annotated[int, Meta(description="Answers under way at once.", ge=1)] = 10_000
    max_time: Annotated[float, Meta(description="Longest an answer may take.", gt=0)] = 3600.0
    max_iterations: Annotated[
        int, Meta(description="How often a model may be asked in one answer.", ge=1)
    ] = 20
    idle_timeout: Annotated[float, Meta(description="Longest an upstream may be silent.", gt=0)] = 300.0
    tool_time: Annotated[float, Meta(description="Longest a tool may take.", gt=0)] = 60.0
    tool_result: Annotated[
        int, Meta(description="Most characters of a tool's result that the model is given.", ge=256)
    ] = 65536
    tool_hosts: Annotated[
        tuple[str, ...],
        Meta(description="Hosts of one's own network, by name or name:port, that HTTP tools may reach."),
    ] = ()
    review_time: Annotated[
        float, Meta(description="How long a review waits for its decision before it expires.", gt=0)
    ] = 86400.0
    secrets: Annotated[
        dict[str, SecretSettings], Meta(description="Secrets that tools may send in their headers.")
    ] = {}
    mcp: Annotated[dict[str, McpSettings], Meta(description="MCP servers whose tools agents may use.")] = {}
    keepalive: Annotated[float, Meta(description="Silence after which readers get a keepalive.", gt=0)] = 15.0
    write_timeout: Annotated[
        float, Meta(description="How long a reader may not read before it is dropped.", gt=0)
    ] = 60.0
    drain_time: Annotated[
        float, Meta(description="How long running answers may go on after SIGTERM.", ge=0)
    ] = 10.0
    mix_agent: Annotated[
        str, Meta(description="The agent of Mix's sessions, which have no use for functions of the caller's.")
    ] = "demo"
    opper_strings: Annotated[
        bool, Meta(description="Whether Opper's structured deltas are all strings, for its SDKs up to 1.2.0.")
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="Host names accepted beside loopback when there are no keys.")
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...], Meta(description="Origins of web pages that may call this server.")
    ] = ()


class Loaded(NamedTuple):
    """Settings, and for each name whence its value came."""

    settings: Settings
    origins: dict[str, str]


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], text: str = "", source: str = "penstock.toml"
) -> Loaded:
    """
    Put the settings together.

    Args:
        flags: what the command line said; None stands for nothing.
        text: the configuration file's; ``source`` is what errors call it.
    Raises:
        ConfigError: a name is unknown or a value is wrong; ``field`` names it.
    """
    given: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in (
        (source, _parsed(text, source)),
        ("environment", _from_environment(environ)),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ):
        _check_names(values, Settings, origin)
        given.update(values)
        origins.update(dict.fromkeys(values, origin))
    for table, (kind, check) in _TABLES.items():
        if isinstance(entries := given.get(table), dict):
            given[table] = {
                name: _entry(values, kind, check, f"{table}.{name}", origins)
                for name, values in entries.items()
            }
    settings = _converted(given, Settings, origins)
    return Loaded(settings, {f.name: origins.get(f.name, "default") for f in fields(Settings)})


def describe(kind: type[Struct] = Settings) -> dict[str, str]:
    """Return each setting's sentence by its name."""
    return {f.name: _sentence(f.type) for f in fields(kind)}


def secret(reference: str, environ: Mapping[str, str] = os.environ, field: str = "key") -> str:
    """
    Return the secret that ``reference`` points to; empty for an empty one.

    Args:
        field: the setting that the reference is the value of.
    Raises:
        ConfigError: it points nowhere, or is the secret itself.
    """
    kind, where = _reference(reference, field)
    match kind:
        case "env":
            value = environ.get(where)
            if not value:
                raise ConfigError(
                    f"the environment variable {where}, named by `{field}`, is not set", field=field
                )
            return value
        case "file":
            try:
                return Path(where).read_text().strip()
            except (OSError, UnicodeDecodeError) as exc:
                why = exc.strerror if isinstance(exc, OSError) else "it is not text"
                raise ConfigError(f"the file {where}, named by `{field}`: {why}", field=field) from exc
        case _:
            return ""


def _reference(text: str, field: str) -> tuple[str, str]:
    kind, _, where = text.partition(":")
    if text and (kind not in ("env", "file") or not where):
        raise ConfigError(f"`{field}` must be env:NAME or file:/path, not the secret itself", field=field)
    return kind, where


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{source}: {exc}") from exc


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in ``environ``, in their types; other names there are others' business."""
    plain = {f.name: f for f in fields(Settings) if f.name not in _TABLES}
    values: dict[str, Any] = {}
    for name, setting in plain.items():
        text = environ.get(_PREFIX + name.upper())
        if text is None:
            continue
        try:
            listed = text.split(",") if "tuple" in str(setting.type) else text
            values[name] = convert(listed, setting.type, strict=False)
        except ValidationError as exc:
            raise ConfigError(f"{_PREFIX}{name.upper()}: {exc}", field=name) from exc
    return values


def _check_names(values: Mapping[str, Any], kind: type[Struct], origin: str, prefix: str = "") -> None:
    known = [f.name for f in fields(kind)]
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {prefix + near[0]!r}?" if near else ""
            raise ConfigError(f"{origin}: there is no setting {prefix + name!r}{hint}", field=prefix + name)


def _entry(
    values: Any, kind: type[Struct], check: Callable[[Any, str], None], name: str, origins: Mapping[str, str]
) -> Struct:
    """Return one entry of a table of settings, ``name`` in full."""
    if isinstance(values, dict):
        _check_names(values, kind, origins[name.partition(".")[0]], f"{name}.")
    entry = _converted(values, kind, origins, name)
    check(entry, name)
    return entry


def _check_upstream(upstream: UpstreamSettings, name: str) -> None:
    if bool(upstream.url) == bool(upstream.replay):
        raise ConfigError(f"{name} must have either a `url` or a `replay`", field=name)
    _reference(upstream.key, f"{name}.key")


def _check_secret(described: SecretSettings, name: str) -> None:
    if not (described.value and described.hosts):
        raise ConfigError(f"{name} must have a `value` and the `hosts` it is for", field=name)
    _reference(described.value, f"{name}.value")


def _check_mcp(server: McpSettings, name: str) -> None:
    if bool(server.url) == bool(server.command):
        raise ConfigError(f"{name} must have either a `command` or a `url`", field=name)
    other, names = ("headers", server.headers) if server.command else ("env", server.env)
    if names:
        raise ConfigError(f"{name}: `env` goes with `command`, `headers` with `url`", field=f"{name}.{other}")


_TABLES: Final[Mapping[str, tuple[type[Struct], Callable[[Any, str], None]]]] = {
    "upstreams": (UpstreamSettings, _check_upstream),
    "secrets": (SecretSettings, _check_secret),
    "mcp": (McpSettings, _check_mcp),
}
"""Settings that are entries by name: what one is, and what must hold of it."""


_S = TypeVar("_S", bound=Struct)


def _converted(values: Any, kind: type[_S], origins: Mapping[str, str], name: str = "") -> _S:
    try:
        return convert(values, kind, strict=True)
    except ValidationError as exc:
        what, _, path = str(exc).partition(" - at `$")
        field = (name + path.rstrip("`")).lstrip(".")
        raise ConfigError(f"{origins[field.partition('.')[0]]}: {what} - at `{field}`", field=field) from exc


def _sentence(annotated: Any) -> str:
    found = (meta.description for meta in annotated.__metadata__ if isinstance(meta, Meta))
    return next((sentence for sentence in found if sentence), "")
