"""`python -m artifactstore` runs the command line, for use where the `artifactstore` script is not on the path."""

from artifactstore.cli import main

main()
