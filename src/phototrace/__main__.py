"""`python -m phototrace`."""

from phototrace.cli import main

if __name__ == "__main__":  # a worker process may import it again
    main()
