"""What users of artifactstore test with: a harness for single actors, and a deterministic simulation of the whole."""
