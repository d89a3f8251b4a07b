"""
What the strictest reader of Mix's wire takes: the TypeScript SDK's rules (sections 2 and 3 of the contract).

A shape says of each member what it must be; one that ends in ``?`` may be missing.
Nothing else may be there, and nothing may be null.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

__all__ = ["EXPORT", "ROW", "SESSION_DATA", "UNION", "UNIONS", "check", "many", "strict"]


def text(value: Any) -> None:
    assert isinstance(value, str)


def whole(value: Any) -> None:
    assert type(value) is int


def count(value: Any) -> None:
    assert type(value) is int and value >= 0


def cost(value: Any) -> None:
    assert type(value) is float


def flag(value: Any) -> None:
    assert type(value) is bool


def time(value: Any) -> None:
    assert datetime.fromisoformat(value).tzinfo is not None


def members(value: Any) -> None:
    assert isinstance(value, dict)


def one_of(*words: str) -> Any:
    def check(value: Any) -> None:
        assert value in words

    return check


def texts(value: Any) -> None:
    assert isinstance(value, list) and all(isinstance(each, str) for each in value)


def many(shape: Any) -> Any:
    def check(value: Any) -> None:
        assert isinstance(value, list)
        for each in value:
            strict(each, shape)

    return check


def strict(value: dict[str, Any], shape: dict[str, Any]) -> None:
    """Check a document."""
    known = {key.removesuffix("?"): kind for key, kind in shape.items()}
    assert value.keys() <= known.keys(), "nothing that is not in the table"
    assert {key for key in shape if not key.endswith("?")} <= value.keys()
    for key, each in value.items():
        known[key](each)


# -- streams

OF_MESSAGE: Final = {"type": text, "assistantMessageId?": text, "parentToolCallId?": text}
OF_TOOL: Final = {
    "type": text, "toolName": text, "progress": text, "toolCallId": text, "parentToolCallId?": text
}  # fmt: skip
UNION: Final[dict[str, dict[str, Any]]] = {
    "connected": {"sessionId": text},
    "heartbeat": {"type": one_of("ping")},
    "user_message_created": {"type": text, "messageId": text, "content": text, "parentToolCallId?": text},
    "thinking": {**OF_MESSAGE, "content": text},
    "content": {**OF_MESSAGE, "content": text},
    "tool_use_start": {**OF_MESSAGE, "name": text, "id": text},
    "tool_use_parameter_delta": {**OF_MESSAGE, "toolCallId": text, "input": text},
    "tool_use_parameter_streaming_complete": {**OF_MESSAGE, "name": text, "id": text, "input": text},
    "tool_execution_start": OF_TOOL,
    "tool_execution_complete": {**OF_TOOL, "success": flag},
    "permission": {"type": text, "id": text, "sessionId": text, "toolName": text, "description": text,
                   "action": text, "path?": text, "params?": members, "parentToolCallId?": text},
    "notification": {"type": text, "id": text, "sessionId": text, "title": text, "message": text,
                     "notificationType": one_of("info", "warning", "error", "question"),
                     "responseType": one_of("acknowledge", "text", "choice"),
                     "timeout": whole, "createdAt": whole, "choices?": texts, "parentToolCallId?": text},
    "error": {"error": text, "type?": text, "attempt?": whole, "maxAttempts?": whole, "retryAfter?": whole,
              "parentToolCallId?": text},
    "complete": {"type": text, "done": flag, "content?": text, "messageId?": text, "reasoning?": text,
                 "reasoningDuration?": whole, "parentToolCallId?": text},
    "session_created": {"type": text, "sessionId": text, "title": text, "createdAt": whole},
    "session_deleted": {"type": text, "sessionId": text},
}  # fmt: skip

TOOL: Final = {
    **{name: UNION[name] for name in UNION if not name.startswith(("tool_use", "notification"))},
    "tool": {**OF_MESSAGE, "name": text, "id": text, "input": text, "status": one_of("running", "completed")},
    "tool_parameter_delta": UNION["tool_use_parameter_delta"],
}  # fmt: skip
UNIONS: Final = {
    "": UNION,
    "tool": TOOL,
    "early": {
        name: TOOL[name] for name in TOOL if name not in ("user_message_created", "tool_parameter_delta")
    },
}


def check(data: bytes, generation: str = "") -> None:
    """Check that every block is one that a reader of this generation takes."""
    for block in data.decode("ascii").removesuffix("\n\n").split("\n\n"):
        lines = [line.partition(": ")[::2] for line in block.split("\n")]
        order = [field for field, _ in lines]
        assert order in (["id", "event", "data"], ["id", "event", "data", "retry"])
        fields = dict(lines)
        assert fields["id"], "an id on every block"
        strict(json.loads(fields["data"]), UNIONS[generation][fields["event"]])
        assert fields["event"] == "error" or len(block) < 64 * 1024


# -- documents

CALLBACK: Final = {
    "toolName": text, "type": one_of("bash_script", "sub_agent", "send_message"), "name?": text,
    "bashCommand?": text, "bashTimeout?": count, "messageContent?": text, "subAgentPrompt?": text,
    "subAgentType?": text, "includeFullHistory?": flag, "excludeFromContext?": flag,
}  # fmt: skip
COUNTS: Final = {
    "userMessageCount": count, "assistantMessageCount": count, "toolCallCount": count, "promptTokens": count,
    "completionTokens": count, "cost": cost,
}  # fmt: skip
SESSION_DATA: Final = {
    "id": text, "title": text, "sessionType": one_of("main", "subagent"), **COUNTS, "createdAt": time,
    "browserMode": one_of("electron-embedded-browser", "local-browser-service", "remote-cdp-websocket"),
    "firstUserMessage?": text, "parentSessionId?": text, "parentToolCallId?": text, "cdpUrl?": text,
    "subagentType?": one_of("general-purpose"), "callbacks?": many(CALLBACK), "modelId?": text,
    "provider?": text,
}  # fmt: skip
CALL: Final = {
    "id": text, "name": text, "input": json.loads, "type": text, "finished": flag, "result?": text,
    "isError?": flag,
}  # fmt: skip
ROW: Final = {
    "id": text, "sessionId": text, "role": one_of("user", "assistant"), "userInput": text,
    "assistantResponse?": text, "reasoning?": text, "model?": text, "inputTokens?": count,
    "outputTokens?": count, "cacheReadTokens?": count, "toolCalls?": many(CALL),
}  # fmt: skip
EXPORT: Final = {
    "id": text, "title": text, **COUNTS, "createdAt": time, "updatedAt": time,
    "messages": many({"id": text, "role": one_of("user", "assistant"), "content": text, "createdAt": time,
                      "updatedAt": time, "model?": text, "finishReason?": text, "reasoning?": text,
                      "toolCalls?": many(CALL)}),
}  # fmt: skip
