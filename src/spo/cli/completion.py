"""``spoc completion``: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      source <(spoc completion bash)
      spoc completion zsh > "${fpath[1]}/_spoc"
      spoc completion fish > ~/.config/fish/completions/spoc.fish
    """
    root = context.find_root()
    program = root.info_name or "spoc"
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choices are click's own shells
    click.echo(kind(root.command, {}, program, f"_{program.upper()}_COMPLETE").source())
