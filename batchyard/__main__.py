"""`python -m batchyard`: the same as the program `batchyard`."""

from batchyard.cli import main

if __name__ == "__main__":
    main()
