"""``missive completion``: the script that teaches a shell to complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

HELP = """\
Print the script with which a shell completes commands and options.

\b
  eval "$(missive completion bash)"      # in ~/.bashrc
  eval "$(missive completion zsh)"       # in ~/.zshrc
  missive completion fish > ~/.config/fish/completions/missive.fish
"""


@click.command(help=HELP, short_help="Print the script for a shell's completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write the completion script."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    script = kind(ctx.find_root().command, {}, "missive", "_MISSIVE_COMPLETE").source()
    click.echo(script)
