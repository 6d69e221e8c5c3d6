"""Data: splits in memory, augmentation, order of examples, copies on devices."""
