"""Images, masks and data sets: opened as lazy blocks, checked before any work."""
