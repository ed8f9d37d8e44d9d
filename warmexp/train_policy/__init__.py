"""Training of an unmasking policy for a backbone."""
