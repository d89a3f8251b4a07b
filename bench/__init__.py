"""The benchmarks: whole processes, side by side with a direct connection and with nginx. See README.md."""
