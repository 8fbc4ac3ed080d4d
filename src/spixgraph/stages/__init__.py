"""The stages of the pipeline as functions; DVC scripts and `spixgraph experiment` share them."""
