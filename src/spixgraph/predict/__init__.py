"""From an image and a model bundle to a mask, without torch."""
