"""From trained weights to a model bundle that needs no torch, and the proof that it is faithful."""
