"""`python -m phototrace`."""

from phototrace.cli import main

main()
