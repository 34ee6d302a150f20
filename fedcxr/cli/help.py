"""How the commands present themselves: help in plain text, in whole sentences."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType


class _Plain(click.Command):
    """Typer marks brackets for HTML also where it prints text, and click cuts what a list of commands says."""

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace("\\[", "[")

    def get_short_help_str(self, limit: int = 45) -> str:
        return super().get_short_help_str(sys.maxsize)  # a list of commands wraps its lines: nothing need be cut


class Command(_Plain, TyperCommand):
    """One command."""


class Group(_Plain, TyperGroup):
    """A command of commands."""


class App(typer.Typer):
    """Commands that present themselves in this way."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            cls=Group, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, **settings
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(name, cls=Command, **settings)
