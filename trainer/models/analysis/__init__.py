"""What a network costs, layer by layer: multiply-adds, receptive field, memory."""
