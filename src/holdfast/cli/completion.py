"""`holdfast completion`: the script that teaches a shell to complete holdfast's commands, names and addresses."""

import click


@click.command("completion", short_help="the script that lets a shell complete commands, names and addresses")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    Examples:
      holdfast completion bash > /etc/bash_completion.d/holdfast
      holdfast completion zsh > /usr/local/share/zsh/site-functions/_holdfast
      holdfast completion fish > ~/.config/fish/completions/holdfast.fish
      source <(holdfast completion bash)         in this shell only

    It completes commands, options, instances, virtual addresses and servers, as the running daemon knows them; without
    a daemon, as /etc/keepalived/keepalived.conf has them.
    """
    from holdfast.cli.shells import SHELLS

    click.echo(SHELLS[shell].source_template, nl=False)
