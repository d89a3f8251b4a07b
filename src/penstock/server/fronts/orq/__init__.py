"""
orq.ai's agents: turns of tasks, what waits in them for a human, and the definitions themselves.

A task is a stream. Turns are in ``responses``; tasks and the actions in them, with
their reviews, in ``tasks``; agents and tools in ``agents``.
"""

from __future__ import annotations

from typing import Final

from ....dialects.orq import DIALECT
from ...endpoint import Front
from . import agents, responses, tasks

__all__ = ["FRONTS"]

FRONTS: Final = (Front(DIALECT, (*responses.ENDPOINTS, *tasks.ENDPOINTS, *agents.ENDPOINTS)),)
