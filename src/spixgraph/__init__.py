"""spixgraph: semantic segmentation of very large microscopy images with superpixel graphs."""

from importlib.metadata import version

__version__ = version("spixgraph")
