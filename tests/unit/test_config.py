"""Settings: where they come from, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from penstock.config import Settings, UpstreamSettings, describe, load, secret
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
    "allowed_hosts": ("a.example,b.example", ("a.example", "b.example")),
    "keepalive": ("2", 2.0),
}


@pytest.mark.parametrize(("name", "text", "value"), [(n, *v) for n, v in FROM_ENVIRONMENT.items()])
def test_the_environment_is_read_in_the_settings_type(name: str, text: str, value: Any) -> None:
    assert getattr(load({}, {f"PENSTOCK_{name.upper()}": text}).settings, name) == value


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


@pytest.mark.parametrize("kind", [Settings, UpstreamSettings])
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
