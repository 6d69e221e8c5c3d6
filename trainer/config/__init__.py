"""Config and RunConfig: every option with its help, bounds and flag."""
