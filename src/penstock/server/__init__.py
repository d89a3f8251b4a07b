"""The HTTP server: an ASGI application, its fronts, and the process that serves it."""
