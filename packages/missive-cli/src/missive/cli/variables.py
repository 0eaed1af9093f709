"""Environment variables that may hold secrets: their values, or files that hold those."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click


def read_variable(name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return a variable's value, or what stands in the file that ``NAME_FILE`` names.

    Containers and systemd hand secrets over as files. White space around a file's content, such as
    the newline that most end with, is no part of the secret.

    :raises click.UsageError: both are set, or the file cannot be read.
    """
    environment = os.environ if environment is None else environment
    value, path = environment.get(name) or None, environment.get(f"{name}_FILE") or None
    if path is None:
        return value
    if value is not None:
        raise click.UsageError(f"{name} and {name}_FILE are both set; set one of them")
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise click.UsageError(
            f"{name}_FILE is {path}, which cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{name}_FILE is {path}, which is not UTF-8") from error


class SecretOption(click.Option):
    """An option that is taken from a variable, or from a file that ``NAME_FILE`` names."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the variable's value; None where it is not set."""
        assert isinstance(self.envvar, str)
        return read_variable(self.envvar)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Name the file's variable too."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        return record[0], record[1].replace(
            f"{self.envvar}]", f"{self.envvar}, {self.envvar}_FILE]"
        )
