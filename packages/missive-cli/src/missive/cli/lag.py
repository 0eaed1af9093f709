"""``missive lag``: how many messages the transport has that are not settled."""

from __future__ import annotations

from typing import Any

import click
from missive import Adapter, MissiveError, Processor, RawMessage
from missive.polling import PollingAdapter

from .exits import ExitCode, Failed, kind_and_place
from .options import debug_option, json_option, target_options
from .schemes import build_adapter, masked
from .targets import as_adapter, load_target_object, not_a
from .terminal import note, plural, table, write_json
from .variables import read_variable

HELP = """\
Show how many unsettled messages the transport has, by source. They are those of the whole group, not
of one process.

\b
  missive lag app:adapter
  missive lag 'redis+streams://localhost/0?streams=orders&group=billing'
  missive lag app:adapter --max 1000 || echo 'too far behind'

The argument is an adapter as MODULE:NAME or the URL of a transport; by default the URL in
MISSIVE_FROM. The command opens a connection of its own. It takes no message and handles nothing.
"""


@click.command(help=HELP, short_help="Show how many messages wait.")
@click.argument("what", metavar="[MODULE:NAME|URL]", required=False)
@click.option(
    "--max", "most", metavar="N", type=click.IntRange(0), help="Exit with 1 if more are waiting."
)
@target_options
@json_option("Write JSON: one object for each source.")
@debug_option
def lag(what: str | None, most: int | None, as_json: bool) -> int:
    """Show the lag of a transport."""
    what = what or read_variable("MISSIVE_FROM")
    if what is None:
        raise click.UsageError("give an adapter or the URL of a transport, or set MISSIVE_FROM")
    found = _ask(_adapter_of(what), masked(what))
    total = sum(found.values())
    if as_json:
        for source, count in found.items():
            write_json({"source": source, "lag": count})
    else:
        table(("source", "lag"), list(found.items()), flexible=("source",))
        note(f"{plural(total, 'message')} not settled")
    return ExitCode.FAILED if most is not None and total > most else ExitCode.OK


def _adapter_of(what: str) -> Adapter[Any]:
    """Return the adapter that was named, or one on the transport of a URL.

    :raises click.UsageError: it is neither.
    """
    if "://" in what or what.endswith(":"):
        processor: Processor[RawMessage] = Processor()
        return build_adapter(what, RawMessage, processor)
    loaded = load_target_object(what)
    adapter = as_adapter(loaded.found)
    if adapter is None:
        raise click.UsageError(not_a(what, loaded, "an adapter"))
    return adapter


def _ask(adapter: Adapter[Any], what: str) -> dict[str, int]:
    """Ask the transport of an adapter.

    :raises Failed: it cannot say, or not now.
    """
    name = type(adapter).__name__
    try:
        found = adapter.lag_by_source() if isinstance(adapter, PollingAdapter) else None
    except MissiveError:
        raise
    except Exception as error:  # of the transport's client
        raise Failed(f"{what} did not answer: {kind_and_place(error)}") from error
    if found is None:
        raise Failed(f"{name} cannot say how many messages wait")
    return dict(found)
