"""What makes answers and gives them out: writers, runs, upstreams, subscriptions."""
