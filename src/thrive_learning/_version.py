"""The version of the distribution, for the build and the User-Agent."""

#: The version of this package.
__version__ = "0.1.0"
