"""Networks, their layers and their evaluation."""
