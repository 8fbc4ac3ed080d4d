"""Counts, scores, the report and its pictures; free of torch and of settings."""
