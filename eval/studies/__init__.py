"""Studies: many runs that launch.sweep trained, as one table, one page, one winner."""
