"""Training of the unmasking policy that the lab ships."""
