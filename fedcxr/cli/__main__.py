"""`python -m fedcxr.cli` is the command `fedcxr`."""

from fedcxr.cli import process

process()
