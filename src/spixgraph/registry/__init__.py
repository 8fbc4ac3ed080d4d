"""The model registry: register, promote through a gate, roll back, fetch."""
