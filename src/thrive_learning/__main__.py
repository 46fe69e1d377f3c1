"""`python3 -m thrive_learning`, which is the command `thrive`."""

from thrive_learning.cli import main

if __name__ == "__main__":
    main("python3 -m thrive_learning")
