"""Thin scripts, one per DVC stage: read the settings, call one function, write."""
