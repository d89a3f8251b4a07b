"""
Values, leaf by leaf: what a reader of ``json_path`` puts together, written apart from Penstock's own.

Section 2.3 of the contract; what it leaves open (null, empty containers) is
taken away from both sides before they are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["exact", "gathered", "spelled", "without_nothing"]

_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[]+)")


def gathered(events: Iterable[dict[str, Any]]) -> Any:
    """Return the value that the data of ``events`` makes."""
    leaves: dict[str, Any] = {}
    for data in events:
        if data.get("chunk_type") != "json":
            continue
        path, delta = data.get("json_path", ""), data["delta"]
        assert not isinstance(delta, list | dict), "containers are never said"
        assert path not in leaves or isinstance(delta, str), f"{path} is said twice"
        assert path not in leaves or path == [*leaves][-1], f"the pieces of {path} are not together"
        leaves[path] = leaves.get(path, "") + delta if isinstance(delta, str) else delta
    if [*leaves] == [""]:
        return leaves[""]
    root: dict[Any, Any] = {}
    for path, leaf in leaves.items():
        *way, last = (int(n) if n else key for n, key in _STEP.findall(path))
        node = root
        for step in way:
            node = node.setdefault(step, {})
        node[last] = leaf
    return _shaped(root)


def _shaped(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(isinstance(step, int) for step in node):
        return [_shaped(node.get(n)) for n in range(max(node) + 1)]
    return {step: _shaped(inner) for step, inner in node.items()}


def without_nothing(value: Any) -> Any:
    """Return ``value`` without members that are null or empty, at any depth."""
    match value:
        case dict():
            kept = {key: without_nothing(inner) for key, inner in value.items()}
            return {key: inner for key, inner in kept.items() if inner not in (None, {}, [])}
        case list():
            return [without_nothing(each) for each in value]
        case _:
            return value


def spelled(value: Any) -> Any:
    """Return ``value`` with every scalar as the string that JSON has for it."""
    match value:
        case dict():
            return {key: spelled(inner) for key, inner in value.items()}
        case list():
            return [spelled(each) for each in value]
        case str() | None:
            return value
        case _:
            return json.dumps(value)


def exact(value: Any) -> str:
    """Return a text that is the same for the same value only: true is not 1, but 1.0 is, as in JavaScript."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    """Return ``value`` with whole numbers as integers."""
    match value:
        case dict():
            return {key: _whole(inner) for key, inner in value.items()}
        case list():
            return [_whole(each) for each in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
