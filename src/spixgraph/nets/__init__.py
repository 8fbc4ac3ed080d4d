"""Networks that give classes to superpixels or pixels; one network per file, built by name."""
