"""Run the command as ``python -m missive.cli``."""

from .command import main

if __name__ == "__main__":
    main()
