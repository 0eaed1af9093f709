"""``missive dlq serve``: the dead letter page."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from ..options import debug_option, message_option, target_options
from ..targets import load_target
from ..terminal import note, write_json
from ..variables import SecretOption, read_variable
from .store import StoreCommand, opened, store_argument

HELP = """\
Serve the dead letter page, to inspect and replay letters in a browser.

\b
  missive dlq serve sqlite:///letters.db
  missive dlq serve sqlite:///letters.db app:adapter
  missive dlq serve sqlite:///letters.db app:processor --message json --read-only
  MISSIVE_WEB_TOKEN_FILE=/run/secrets/token missive dlq serve sqlite:///letters.db --host 0.0.0.0

TARGET names the processor that replays letters; without it, the page can only show and remove them.
The page answers only to a browser on this machine, unless you set a token or a user.
"""


@click.command(cls=StoreCommand, help=HELP, short_help="Serve the dead letter page.")
@store_argument
@click.argument("target", required=False)
@target_options
@message_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7600,
    show_default=True,
    help="The port to listen on; 0 for any free one.",
)
@click.option(
    "--token",
    cls=SecretOption,
    envvar="MISSIVE_WEB_TOKEN",
    show_envvar=True,
    help="The token that people enter to see the page.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME",
    help="A name to log in with; the passwords are in MISSIVE_WEB_PASSWORD_NAME.",
)
@click.option("--read-only", is_flag=True, help="Do not allow any change.")
@click.option("--hide-bodies", is_flag=True, help="Do not show the bodies of messages.")
@click.option("--json", "as_json", is_flag=True, help="Write the page's address as JSON.")
@debug_option
def serve(
    url: str,
    target: str | None,
    message: str | None,
    host: str,
    port: int,
    token: str | None,
    users: tuple[str, ...],
    read_only: bool,
    hide_bodies: bool,
    as_json: bool,
) -> None:
    """Serve the page."""
    web = _import_web()
    loaded = load_target(target, message) if target is not None else None
    if target is None and message is not None:
        raise click.UsageError("--message goes with a TARGET; omit it")
    with opened(url) as store:
        app: Any = web.DeadLetterApp(
            store,
            processor=loaded.processor if loaded is not None else None,
            message_cls=loaded.message_cls if loaded is not None else None,
            token=token,
            users=_passwords(users) if users else None,
            role=web.Role(operate=True, purge=True, bodies=not hide_bodies),
            read_only=read_only,
        )
        app.run(host, port, on_ready=_say_json if as_json else _say)


def _say(address: str) -> None:
    note(f"the dead letter page is at {address}; Ctrl-C ends it")


def _say_json(address: str) -> None:
    write_json({"address": address})


def _passwords(users: Sequence[str]) -> dict[str, str]:
    """Return the passwords of users, from the environment.

    :raises click.UsageError: one has none.
    """
    found: dict[str, str] = {}
    for name in users:
        variable = f"MISSIVE_WEB_PASSWORD_{name.upper()}"
        password = read_variable(variable)
        if password is None:
            raise click.UsageError(f"the user {name} has no password; set {variable}")
        found[name] = password
    return found


def _import_web() -> Any:
    """Return the package of the page.

    :raises click.UsageError: it is not installed.
    """
    try:
        return import_module("missive.web")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("missive"):
            raise
        raise click.UsageError("the page is not installed; pip install missive-web") from error
