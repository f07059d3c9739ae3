"""artifactstore: a content-addressed artifact store built as supervised actors on trio."""
