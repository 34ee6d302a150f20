"""What a process shuts itself in with: Landlock for files, a filter for system calls, and privileges given up."""
