"""
What the four published Opper SDKs expect: three generations of one service, side by side.

v2 under ``/v2`` and, for those who forget it in the base URL, at the root;
v1 and v3 under their own prefixes. Our contract for them says what each SDK
does with it.

Ours, and invisible to the SDKs: the run key. A call that repeats the key of an
earlier one is that call, whoever sent it: it is watched from its beginning, or
on v2 from the frame that ``Last-Event-ID`` names. The key is the header
``Idempotency-Key`` or, for SDKs that cannot send headers, the tag
``idempotency_key``.
"""

from __future__ import annotations

from typing import Final

from . import v1, v2, v3

__all__ = ["FRONTS"]

FRONTS: Final = (v1.FRONT, v2.FRONT, v3.FRONT)
