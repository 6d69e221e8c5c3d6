"""What every export shares: its inputs, its verification and the manifest."""
