"""Measurements, started by hand; none of it is needed to use spixgraph."""
