"""Real machines: what a consortium's parties are handed, and the processes that each of them starts."""
