"""Accuracy and cost of graph models against the U-Net, over data sets."""
