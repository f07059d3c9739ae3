"""The HTTP service: health over Quart, on Hypercorn, as one more actor of the tree."""
