"""Who may ask: this machine only, as long as there are no keys; then whoever has one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from serving import PENSTOCK, Server, create_key, environment

BODY: Final = {"model": "demo", "input": "rivers in 20 words"}
HOSTS: Final = {
    "127.0.0.1:8017": 200,
    "localhost:8017": 200,
    "LocalHost": 200,
    "app.localhost": 200,
    "[::1]:8017": 200,
    "box.lan:8017": 200,
    "evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "localhost.evil.example": 403,
    "evillocalhost": 403,
    "10.0.0.7": 403,
}
ORIGINS: Final = {
    "http://localhost:3000": 200,
    "http://127.0.0.1": 200,
    "https://app.example": 200,
    "https://evil.example": 403,
    "https://app.example.evil.example": 403,
    "null": 403,
}


# -- without keys


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("open")
    with Server(folder, allowed_hosts="box.lan", allowed_origins="https://app.example") as server:
        yield server


@pytest.mark.parametrize("host", HOSTS)
def test_without_keys_the_host_is_this_machine(open_server: Server, host: str) -> None:
    answer = httpx2.get(f"{open_server.url}/v1/streams", headers={"host": host})
    assert answer.status_code == HOSTS[host]


@pytest.mark.parametrize("origin", ORIGINS)
def test_without_keys_the_page_is_of_this_machine(open_server: Server, origin: str) -> None:
    headers = {"origin": origin, "content-type": "text/plain"}  # what a page may send unasked
    answer = httpx2.post(f"{open_server.url}/v1/streams", json=BODY, headers=headers)
    assert answer.status_code == (201 if ORIGINS[origin] == 200 else 403)


def test_an_accepted_page_may_read_the_answer(open_server: Server) -> None:
    page = {"origin": "https://app.example"}
    asked = {
        **page,
        "access-control-request-method": "POST",
        "access-control-request-headers": "last-event-id",
    }
    preflight = httpx2.options(f"{open_server.url}/v1/streams", headers=asked)
    assert preflight.status_code == 200
    answer = httpx2.post(f"{open_server.url}/v1/streams", json=BODY, headers=page)
    for told in (preflight, answer):
        assert told.headers["access-control-allow-origin"] == page["origin"]
    assert "penstock-stream" in answer.headers["access-control-expose-headers"].lower()
    other = httpx2.options(
        f"{open_server.url}/v1/streams", headers={**asked, "origin": "https://evil.example"}
    )
    assert other.status_code == 400 and "access-control-allow-origin" not in other.headers


def test_without_keys_only_this_machine_is_listened_to(tmp_path: Path) -> None:
    done = _refused(tmp_path, "--host", "0.0.0.0")
    assert "loopback" in done and "penstock keys create" in done


def test_a_data_folder_has_one_server(tmp_path: Path) -> None:
    with Server(tmp_path):
        assert "penstock.db" in _refused(tmp_path)


def _refused(folder: Path, *options: str) -> str:
    """Start a server that must not start; return what it says."""
    done = subprocess.run(
        [PENSTOCK, "serve", "--port", "0", *options],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout
    return done.stdout


# -- with keys


SCOPES: Final[dict[str, dict[tuple[str, str], int]]] = {
    "run:read": {("GET", "/v1/streams"): 200, ("POST", "/v1/streams"): 403, ("POST", "/stop"): 403},
    "run:write": {("GET", "/v1/streams"): 403, ("POST", "/v1/streams"): 201, ("POST", "/stop"): 403},
    "run:cancel": {("GET", "/v1/streams"): 403, ("POST", "/v1/streams"): 403, ("POST", "/stop"): 200},
    "admin": {("GET", "/v1/streams"): 200, ("POST", "/v1/streams"): 201, ("POST", "/stop"): 200},
}


class Guarded:
    """A server that has keys."""

    def __init__(self, server: Server, keys: dict[str, str]) -> None:
        self.server, self.keys = server, keys

    def ask(self, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
        body = BODY if (method, path) == ("POST", "/v1/streams") else None
        return httpx2.request(method, f"{self.server.url}{path}", json=body, headers=headers)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keys = {scope: create_key(folder, scope) for scope in SCOPES}
    with Server(folder) as server:
        yield Guarded(server, keys)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_what_it_is_for(guarded: Guarded, scope: str) -> None:
    admin = {"x-api-key": guarded.keys["admin"]}
    stream = guarded.ask("POST", "/v1/streams", admin).json()["id"]
    for (method, path), status in SCOPES[scope].items():
        path = f"/v1/streams/{stream}{path}" if path == "/stop" else path
        answer = guarded.ask(method, path, {"x-api-key": guarded.keys[scope]})
        assert answer.status_code == status, (method, path)


@pytest.mark.parametrize(
    "header", ["authorization: Bearer {}", "authorization: bearer {}", "x-api-key: {}", "api-key: {}"]
)
def test_a_key_travels_in_several_ways(guarded: Guarded, header: str) -> None:
    name, _, value = header.format(guarded.keys["admin"]).partition(": ")
    assert guarded.ask("GET", "/v1/streams", {name: value}).status_code == 200


@pytest.mark.parametrize("key", ["", "nonsense", "penstock_live_", "penstock_live_0123456789ab_secret"])
def test_without_one_of_our_keys_nothing_is_answered(guarded: Guarded, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = guarded.ask("POST", "/v1/streams", headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_key_needs_its_whole_secret(guarded: Guarded) -> None:
    for wrong in (guarded.keys["admin"][:-1], guarded.keys["admin"] + "x"):
        assert guarded.ask("GET", "/v1/streams", {"x-api-key": wrong}).status_code == 401


def test_with_keys_any_host_may_be_asked_for(guarded: Guarded) -> None:
    headers = {"host": "penstock.example", "x-api-key": guarded.keys["admin"]}
    assert guarded.ask("GET", "/v1/streams", headers).status_code == 200


def test_health_needs_no_key(guarded: Guarded) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert guarded.ask("GET", path, {}).status_code == 200


def test_an_idempotency_key_is_its_owner_s(guarded: Guarded) -> None:
    streams = {
        guarded.ask("POST", "/v1/streams", {"x-api-key": guarded.keys[scope], "idempotency-key": "k"}).json()[
            "id"
        ]
        for scope in ("admin", "run:write")
    }
    assert len(streams) == 2


def test_keys_are_made_and_revoked_while_the_server_runs(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        url = f"{server.url}/v1/streams"
        assert httpx2.get(url).status_code == 200
        first, second = create_key(tmp_path), create_key(tmp_path)
        assert httpx2.get(url).status_code == 401
        assert httpx2.get(url, headers={"x-api-key": first}).status_code == 200
        revoke = [PENSTOCK, "keys", "revoke", first.split("_")[2]]
        subprocess.run(revoke, cwd=tmp_path, env=environment(), check=True, stdout=subprocess.PIPE)
        assert httpx2.get(url, headers={"x-api-key": first}).status_code == 401
        assert httpx2.get(url, headers={"x-api-key": second}).status_code == 200
        server.stop()
        assert not {secret for secret in (first, second) if secret in server.log}
        assert second.encode() not in b"".join(
            file.read_bytes() for file in (tmp_path / "penstock-data").iterdir()
        )
