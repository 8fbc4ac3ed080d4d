"""From pixels to superpixels: label images, and measures of how good they are."""
