"""`python -m artifactstore` is the command line, where the script is not on the path."""

from artifactstore.cli import main

main()
