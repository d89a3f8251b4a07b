"""The server that SDKs for Node are cut off from: the same as that of the Python ones."""

from interop.durable.conftest import pieces, stage

__all__ = ["pieces", "stage"]
