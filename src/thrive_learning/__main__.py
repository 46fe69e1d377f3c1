"""`python3 -m thrive_learning`: the command `thrive`, where that is not on the search path."""

from thrive_learning.cli import main

if __name__ == "__main__":
    main("python3 -m thrive_learning")
