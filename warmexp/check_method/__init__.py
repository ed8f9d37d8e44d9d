"""The conformance suite: what every method has to hold to, whoever wrote it (docs/add_a_method.md)."""
