"""Short programs that use what was exported, each with the smallest dependency."""
