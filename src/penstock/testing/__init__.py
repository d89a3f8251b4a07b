"""Suites that a log or a dialect of another package can be run through."""
