"""Servers that do it wrong: the SDK and our own strict reader must notice, or their silence means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Final

import pytest

from interop.mix.users import Heard, User, content, names
from mix_strict import check
from upstream import HEAD

SAID: Final = (
    b'id: 1\nevent: connected\ndata: {"sessionId":"s"}\nretry: 2000\n\n'
    b'id: 2\nevent: user_message_created\ndata: {"type":"...","messageId":"m","content":"?"}\n\n'
    b'id: 3\nevent: content\ndata: {"type":"content","content":"!"}\n\n'
    b'id: 4\nevent: complete\ndata: {"type":"complete","done":true,"reasoningDuration":1}\n\n'
)

FATAL: Final[dict[str, tuple[bytes, bytes]]] = {
    "no id at first": (b"id: 1\n", b""),
    "an unknown event": (b"event: content", b"event: summary"),
    "no event": (b"event: content\n", b""),
    "a null": (b'"content":"!"', b'"content":null'),
    "a member is missing": (b'"done":true,', b""),
    "no data": (b'data: {"type":"content","content":"!"}\n', b""),
    "not JSON": (b'"done":true', b'"done":tru'),
    "a part of a number": (b'"reasoningDuration":1', b'"reasoningDuration":1.5'),
    "a retry alone": (b"id: 3\n", b"retry: 1000\n\nid: 3\n"),
}
"""What ends the stream in any SDK."""

FORGIVEN: Final[dict[str, tuple[bytes, bytes]]] = {
    "a null where nothing need be": (b'"reasoningDuration":1', b'"reasoningDuration":null'),
    "a number in quotes": (b'"reasoningDuration":1', b'"reasoningDuration":"1"'),
    "no id later": (b"id: 3\n", b""),
}
"""What Python's forgives, and another one does not."""


@contextmanager
def stub(said: bytes) -> Iterator[str]:
    """Serve ``said`` as every session's stream; the value is the address."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(HEAD + said)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def read(said: bytes, colour: str) -> list[Heard]:
    """Return what the SDK makes of it; our own reader is not asked."""
    with stub(said) as url, User(url, colour) as user:
        stream = user.stream("s")
        try:
            return stream.rest()
        finally:
            stream.close()


every_colour = pytest.mark.parametrize("colour", ["sync", "async"])


@every_colour
def test_what_is_right_is_taken(colour: str) -> None:
    heard = read(SAID, colour)
    assert names(heard) == ["user_message_created", "content", "complete"] and content(heard) == "!"
    check(SAID)


@every_colour
@pytest.mark.parametrize("name", FATAL)
def test_what_is_wrong_ends_the_stream(colour: str, name: str) -> None:
    wrong = SAID.replace(*FATAL[name], 1)
    assert wrong != SAID
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's or the SDK's own, whichever it is
        read(wrong, colour)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        check(wrong)


@every_colour
@pytest.mark.parametrize("name", FORGIVEN)
def test_what_is_forgiven_does_not_escape_us(colour: str, name: str) -> None:
    wrong = SAID.replace(*FORGIVEN[name], 1)
    assert len(read(wrong, colour)) == 3
    with stub(wrong) as url, User(url, colour) as user:
        stream = user.stream("s")
        with pytest.raises((AssertionError, KeyError)), stream:
            stream.rest()
