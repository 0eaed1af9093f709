"""The root command, and the one place where errors end it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from .__about__ import __version__
from .completion import completion
from .dlq import dlq
from .exits import ExitCode, ReaderGone, code_of, end, line_of
from .explain import explain
from .handlers import handlers
from .health_probe import health
from .lag import lag
from .logs import command_logger
from .options import Settings
from .run import run
from .status import status
from .stopping import StoppedEarly

logger = command_logger("missive.cli")

HELP = """\
Run Missive processors, and manage their dead letters.

\b
  missive run app:adapter
  missive run app:processor --from stdin: --message json
  missive dlq summary sqlite:///dead-letters.db
  missive dlq replay sqlite:///dead-letters.db app:adapter

Every command except completion has --json, for programs, and --debug, for the traceback of an error.

\b
Exit codes:
  0    done: a clean stop, or the end of the input (dead letters are not errors)
  1    processing ended with an error, letters failed again or were not found, or explain found a problem
  2    an argument, option, file or URL cannot be used
  3    the transport could not be reached in time, or refused
  4    messages were abandoned at the drain deadline
  5    one of several processes reached its limit, and the supervisor replaces it
  130  interrupted before the run started
  141  the reader of the output closed it
"""


#: What newer versions of click raise where help is shown for want of arguments.
_NO_ARGUMENTS: type[click.UsageError] | tuple[()] = getattr(
    click.exceptions, "NoArgsIsHelpError", ()
)


class Root(click.Group):
    """The root command."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; this is also where help is written."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command, and give what it returns: an exit code, or None."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGone from error


@click.group(
    cls=Root,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, package_name="missive-cli", prog_name="missive")
def missive() -> None:
    """Hold the commands together."""


for command in (run, status, lag, dlq, explain, handlers, health, completion):
    missive.add_command(command)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit.

    :param args: the arguments; those of the process unless given.
    """
    _replace_closed_streams()
    settings = Settings()
    try:
        result = missive.main(
            args=args, prog_name=_prog_name(), standalone_mode=False, obj=settings
        )
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGone):
        _forget_stdout()
        sys.exit(ExitCode.BROKEN_PIPE)
    except SystemExit:
        raise
    except BaseException as error:
        _report(error, settings)
        code = code_of(error)
        if code is ExitCode.ABANDONED or isinstance(error, StoppedEarly):
            end(code)  # handlers, or threads of the program's, still run: nothing waits for them
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _replace_closed_streams() -> None:
    """Let the null device stand in for standard streams that were closed.

    Else the next file that is opened, such as a store, would have their place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, stream)


def _report(error: BaseException, settings: Settings) -> None:
    try:
        if settings.log_errors:
            logger.critical("%s", line_of(error), exc_info=error if settings.debug else None)
            return
        if isinstance(error, _NO_ARGUMENTS):
            error.show()
            return
        if settings.debug:
            traceback.print_exception(type(error), error, error.__traceback__)
        click.echo(f"missive: {line_of(error)}", err=True)
    except BrokenPipeError:
        return


def _forget_stdout() -> None:
    """Let the interpreter's last flush of standard output meet no broken pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _prog_name() -> str:
    return "python -m missive.cli" if sys.argv[0].endswith("__main__.py") else "missive"
