"""Data sets in memory, augmentation, the order of examples, copies on devices."""
