"""Command line: python -m sigmaflow COMMAND. Only registers; each command lives in the module it imports.

Imports are inside the functions so that --help is fast.
"""

from __future__ import annotations

import sys

import typer

from sigmaflow.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def settings() -> None:
    """Print the settings in force."""
    from sigmaflow.settings import load

    typer.echo(load().model_dump_json(indent=2))


def main() -> None:
    """Run a command; an error meant for the user is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
