"""Typed settings: the graph recipe and the sections of `params.yaml`."""
