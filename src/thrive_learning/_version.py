"""The version of the distribution; the build and the User-Agent read it from here."""

#: The version of this package.
__version__ = "0.1.0"
