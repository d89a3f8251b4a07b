"""What this wire calls things: messages and errors."""

from __future__ import annotations

from typing import Final

from ...errors import PenstockError
from ...events import MessageAdded, TextPart
from ...wire import jsontext

__all__ = ["ERROR_TYPES", "error", "message_name", "text_in"]


def message_name(response_id: str, round: int) -> str:
    """Return the id of the assistant's message that a round of an answer is, from 0."""
    return f"{response_id}.m{round}"


def text_in(message: MessageAdded) -> str:
    """Return what a message says in words."""
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


ERROR_TYPES: Final = {
    401: "unauthorized",
    403: "unauthorized",
    404: "not_found",
    422: "validation_error",
}
"""Types of errors by HTTP status (section 2); SDKs know these, and the two of :func:`error`."""


def error(error: PenstockError) -> bytes:
    """Return an error as the body of an HTTP answer."""
    otherwise = "bad_request" if error.status < 500 else "internal_error"
    kind = ERROR_TYPES.get(error.status, otherwise)
    return jsontext.encode({"error": {"code": error.status, "message": error.message, "type": kind}})
