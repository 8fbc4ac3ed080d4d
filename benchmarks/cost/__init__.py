"""How time and memory grow with the image: graph models against the U-Net."""
