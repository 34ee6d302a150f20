"""What is looked at before a machine starts: a function for each thing, a verdict, and what to do about it."""
