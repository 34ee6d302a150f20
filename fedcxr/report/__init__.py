"""What stored runs say, for those who decide: read back from results alone."""
