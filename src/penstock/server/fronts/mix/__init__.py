"""
Mix: sessions, their streams, and the permissions that tools ask for in them.

A session is a stream. What its SDKs call with it is in ``sessions``, ``messages``,
``live`` and ``permissions``; what they ask of a server besides, in ``around``.
"""

from __future__ import annotations

from typing import Final

from ....dialects.mix import DIALECT
from ...endpoint import Front
from . import around, live, messages, permissions, sessions

__all__ = ["FRONTS"]

FRONTS: Final = (
    Front(
        DIALECT,
        (
            *live.ENDPOINTS,
            *sessions.ENDPOINTS,
            *messages.ENDPOINTS,
            *permissions.ENDPOINTS,
            *around.ENDPOINTS,
        ),
    ),
)
