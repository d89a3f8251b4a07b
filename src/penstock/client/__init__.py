"""Reading Penstock from another process. It knows the wire, never the log or the engine."""
