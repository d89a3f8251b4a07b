"""
Reading Penstock, and services that speak like it, from another process.

It knows the wire, never the log or the engine. What there is to decide is decided
without I/O: what to ask next in ``acts`` and ``ways``, what was received and whether
it was all in ``following``, what it comes to in ``folds`` and ``drafts``, what a
refusal means in ``refusals``. ``client`` and ``sync`` carry it out.
"""
