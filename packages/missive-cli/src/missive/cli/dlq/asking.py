"""Asking before something is lost."""

from __future__ import annotations

import sys

import click

from ..exits import Failed


def confirm(question: str, *, yes: bool) -> None:
    """Go on if the operator agrees.

    :param yes: they did already, on the command line.
    :raises click.UsageError: there is nobody to ask.
    :raises Failed: they do not agree.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            "cannot ask before removing letters, since standard input is not a terminal; pass --yes"
        )
    if not click.confirm(question, err=True):
        raise Failed("nothing was removed")


def yes_option(command: click.decorators.FC) -> click.decorators.FC:
    """Add ``--yes`` to a command."""
    return click.option("--yes", is_flag=True, help="Do not ask first.")(command)
