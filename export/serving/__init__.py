"""SavedModel for serving: signatures, image decoding, warm-up requests."""
