"""Signal processing: pure jitted functions on arrays, batched over any leading axes."""
