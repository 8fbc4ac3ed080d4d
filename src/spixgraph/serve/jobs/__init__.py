"""Long segmentations: a table of jobs, and a worker process that takes one after the other."""
