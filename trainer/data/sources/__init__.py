"""Where images come from: TFDS, folders, tables, arrays of a script."""
