"""Training of node networks and of the pixel CNN that they are compared with."""
