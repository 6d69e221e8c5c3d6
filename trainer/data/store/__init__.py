"""The store: a data set's images at training size in files that are memory-mapped."""
