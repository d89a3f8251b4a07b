"""What stands for a caller's project: we have keys, and no projects."""

from __future__ import annotations

from ....names import uuid_of

__all__ = ["project"]


def project(owner: str) -> str:
    """Return the UUID of what stands for a caller's project."""
    return uuid_of(f"project {owner}")
