"""The page that runs an exported network in a browser."""
