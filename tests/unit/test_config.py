"""Settings: where they come from, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import fields

from penstock.cli import main
from penstock.config import McpSettings, SecretSettings, Settings, UpstreamSettings, describe, load, secret
from penstock.errors import ConfigError

FILE = 'port = 1\nhost = "file"\ndata = "file"\n'


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default() -> None:
    loaded = load(
        {"port": 3, "host": None},
        {"PENSTOCK_PORT": "2", "PENSTOCK_HOST": "environment", "OTHER": "x"},
        FILE,
        "my.toml",
    )
    settings, origins = loaded
    assert (settings.port, settings.host, settings.data) == (3, "environment", "file")
    assert settings.max_runs == Settings().max_runs
    assert {name: origins[name] for name in ("port", "host", "data", "max_runs")} == {
        "port": "flag", "host": "environment", "data": "my.toml", "max_runs": "default",
    }  # fmt: skip
    assert origins.keys() == {field.name for field in fields(Settings)}


def test_nothing_said_is_the_defaults() -> None:
    assert load({}, {}).settings == Settings()
    assert set(load({}, {}).origins.values()) == {"default"}


FROM_ENVIRONMENT: dict[str, tuple[str, Any]] = {
    "port": ("0", 0),
    "commit_window": ("0.002", 0.002),
    "durability": ("power", "power"),
    "tool_hosts": ("localhost:9000,b.example", ("localhost:9000", "b.example")),
    "review_time": ("60", 60.0),
    "allowed_hosts": ("a.example,b.example", ("a.example", "b.example")),
    "keepalive": ("2", 2.0),
}


@pytest.mark.parametrize(("name", "text", "value"), [(n, *v) for n, v in FROM_ENVIRONMENT.items()])
def test_the_environment_is_read_in_the_settings_type(name: str, text: str, value: Any) -> None:
    assert getattr(load({}, {f"PENSTOCK_{name.upper()}": text}).settings, name) == value


@pytest.mark.parametrize("name", ["upstreams", "secrets", "mcp"])
def test_tables_are_not_read_from_the_environment(name: str) -> None:
    assert load({}, {f"PENSTOCK_{name.upper()}": "{}"}).origins[name] == "default"


TABLES = """
tool_hosts = ["localhost:9000"]
[secrets.github]
value = "env:TOKEN"
hosts = ["api.github.com"]
[mcp.files]
command = ["python", "files.py"]
env = { ROOT = "/srv", KEY = "file:/run/key" }
trusted = ["read"]
[mcp.search]
url = "https://search.example/mcp"
headers = { Authorization = "Bearer secret:search" }
max_time = 5
"""


def test_what_tools_need_is_in_tables() -> None:
    settings = load({}, {}, TABLES).settings
    assert settings.tool_hosts == ("localhost:9000",)
    assert settings.secrets == {"github": SecretSettings(value="env:TOKEN", hosts=("api.github.com",))}
    assert settings.mcp == {
        "files": McpSettings(
            command=("python", "files.py"), env={"ROOT": "/srv", "KEY": "file:/run/key"}, trusted=("read",)
        ),
        "search": McpSettings(
            url="https://search.example/mcp", headers={"Authorization": "Bearer secret:search"}, max_time=5.0
        ),
    }


UPSTREAM = '[upstreams.a]\nurl = "http://x"\n'

WRONG: dict[str, tuple[dict[str, Any], dict[str, str], str, str | None, str]] = {
    "unknown in the file": (
        {}, {}, "prot = 1", "prot", "penstock.toml: there is no setting 'prot'; did you mean 'port'?",
    ),
    "unknown and like nothing": ({}, {}, "zzz = 1", "zzz", "there is no setting 'zzz'"),
    "unknown flag": ({"prot": 1}, {}, "", "prot", "flag: there is no setting 'prot'; did you mean 'port'?"),
    "unknown in an upstream": (
        {}, {}, UPSTREAM + "ulr = 1", "upstreams.a.ulr", "did you mean 'upstreams.a.url'?",
    ),
    "type in the file": ({}, {}, 'port = "x"', "port", "penstock.toml: "),
    "type in the environment": ({}, {"PENSTOCK_PORT": "x"}, "", "port", "PENSTOCK_PORT: "),
    "type of a flag": ({"port": "x"}, {}, "", "port", "flag: "),
    "range in the file": ({}, {}, "port = 99999", "port", "penstock.toml: "),
    "range in the environment": ({}, {"PENSTOCK_PORT": "99999"}, "", "port", "PENSTOCK_PORT: "),
    "range of a flag": ({"port": 99999}, {}, "", "port", "flag: "),
    "choice": ({}, {}, 'durability = "both"', "durability", "penstock.toml: "),
    "type in an upstream": ({}, {}, UPSTREAM + 'retries = "x"', "upstreams.a.retries", "penstock.toml: "),
    "an upstream that is none": ({}, {}, "[upstreams]\na = 1", "upstreams.a", "penstock.toml: "),
    "upstreams that are none": ({}, {}, "upstreams = 1", "upstreams", "penstock.toml: "),
    "neither url nor replay": ({}, {}, "[upstreams.a]", "upstreams.a", "either a `url` or a `replay`"),
    "both url and replay": ({}, {}, UPSTREAM + 'replay = "x"', "upstreams.a", "either a `url` or a `replay`"),
    "unknown in a secret": (
        {}, {}, "[secrets.a]\nvalu = 'env:X'", "secrets.a.valu", "did you mean 'secrets.a.value'?",
    ),
    "a secret without hosts": ({}, {}, "[secrets.a]\nvalue = 'env:X'", "secrets.a", "the `hosts` it is for"),
    "a secret without a value": ({}, {}, "[secrets.a]\nhosts = ['x']", "secrets.a", "must have a `value`"),
    "a secret in plain": (
        {}, {}, "[secrets.a]\nvalue = 'sk-hush'\nhosts = ['x']", "secrets.a.value", "must be env:NAME",
    ),
    "unknown in an MCP server": ({}, {}, "[mcp.a]\nurk = 'x'", "mcp.a.urk", "did you mean 'mcp.a.url'?"),
    "type in an MCP server": ({}, {}, "[mcp.a]\ncommand = 'x'", "mcp.a.command", "penstock.toml: "),
    "neither command nor url": ({}, {}, "[mcp.a]", "mcp.a", "either a `command` or a `url`"),
    "both command and url": (
        {}, {}, "[mcp.a]\ncommand = ['x']\nurl = 'http://x'", "mcp.a", "either a `command` or a `url`",
    ),
    "headers of a command": (
        {}, {}, "[mcp.a]\ncommand = ['x']\nheaders = { A = 'b' }", "mcp.a.headers", "`headers` with `url`",
    ),
    "environment of a url": (
        {}, {}, "[mcp.a]\nurl = 'http://x'\nenv = { A = 'b' }", "mcp.a.env", "`env` goes with `command`",
    ),
    "no time for tools": ({}, {}, "tool_time = 0", "tool_time", "penstock.toml: "),
    "no room for results": ({}, {}, "tool_result = 255", "tool_result", "penstock.toml: "),
    "no iteration": ({}, {"PENSTOCK_MAX_ITERATIONS": "0"}, "", "max_iterations", "PENSTOCK_MAX_ITERATIONS: "),
    "no time for reviews": ({}, {}, "review_time = 0", "review_time", "penstock.toml: "),
    "no TOML": ({}, {}, "port =", None, "penstock.toml: "),
    "a key in plain": (
        {}, {}, UPSTREAM + 'key = "sk-hush"', "upstreams.a.key", "must be env:NAME or file:/path",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "environ", "text", "field", "message"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_named(
    flags: dict[str, Any], environ: dict[str, str], text: str, field: str | None, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(flags, environ, text)
    assert caught.value.field == field
    assert message in caught.value.message
    assert "sk-hush" not in caught.value.message


@pytest.mark.parametrize("kind", [Settings, UpstreamSettings, SecretSettings, McpSettings])
def test_every_setting_has_its_sentence(kind: type[Settings]) -> None:
    described = describe(kind)
    assert described.keys() == {field.name for field in fields(kind)}
    assert all(sentence.endswith(".") for sentence in described.values())


# -- secrets


def test_a_secret_is_where_its_reference_says(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-file\n")
    assert secret("") == ""
    assert secret("env:KEY", {"KEY": "sk-env"}) == "sk-env"
    assert secret(f"file:{tmp_path}/key") == "sk-file"


def test_a_secret_that_is_nowhere_says_which_setting_names_it() -> None:
    with pytest.raises(ConfigError, match=r"named by `secrets\.a\.value`, is not set") as caught:
        secret("env:NONE", {}, "secrets.a.value")
    assert caught.value.field == "secrets.a.value"


def test_a_secret_that_is_nowhere_is_an_error_that_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for reference in ("env:", "env:NONE", "file:", f"file:{tmp_path}/none", f"file:{tmp_path}",
                      f"file:{tmp_path}/binary", "sk-hush", "hush:sk-hush", ":"):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            secret(reference, {"OTHER": "sk-hush", "EMPTY": ""})
        assert caught.value.field == "key"
        assert "hush" not in caught.value.message


def test_settings_never_hold_a_secret() -> None:
    text = UPSTREAM + 'key = "env:KEY"'
    assert "sk-hush" not in repr(load({}, {"KEY": "sk-hush"}, text))


def test_what_the_command_shows_of_tables_hides_what_may_be_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    text = TABLES.replace("/srv", "sk-hush").replace("Bearer secret:search", "sk-hush")
    file.write_text(
        UPSTREAM + 'headers = { Cookie = "sk-hush" }\n' + text.replace("tool_hosts", "pace = 1 #")
    )
    done = CliRunner().invoke(main, ["config", "--config", str(file)])
    assert done.exit_code == 0, done.output
    assert done.output.count('"***"') == 4  # Cookie, ROOT, KEY, Authorization
    assert "sk-hush" not in done.output
