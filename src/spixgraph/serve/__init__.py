"""Segmentation over HTTP: a BentoML service around the same driver as the command line."""
