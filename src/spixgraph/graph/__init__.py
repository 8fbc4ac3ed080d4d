"""Labels and pixels in, a region graph out: sums, features, contacts, targets, storage."""
