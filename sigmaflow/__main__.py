"""Sigmaflow: paper trading you can prove.

The commands are in sigmaflow/cli/, one file a subject. Imports are inside the functions so that --help is fast.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence

import typer

from sigmaflow.cli import account, backtest, jobs, log, models, proofs, questions, servers, slow
from sigmaflow.cli.common import flowed
from sigmaflow.errors import ExitCode, UserError

PROGRAM = "sigmaflow"
HELP = """Paper trading you can prove: ticks in Kafka, Flink jobs, decisions that can be recomputed bit for bit.

Begin with `sigmaflow start`. Every command has examples in its --help; --json gives one JSON object for programs. Exit
codes: 0 done, 1 a check found something, 2 wrong arguments or settings, 3 something does not run, 4 it failed.
"""
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=flowed(HELP))
for part in (servers, account, questions, jobs, backtest, models, log, slow, proofs):
    app.add_typer(part.app)


def main() -> None:
    """Run a command; errors are one sentence, or with --json one JSON object, and the exit code tells their kind."""
    from sigmaflow.settings import ROOT

    # Before numba is imported: kernels that `make setup` has compiled are found by every command.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "build" / "numba"))
    # Ended from outside it stops what it began, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; gives its exit code."""
    as_json = "--json" in arguments
    try:
        return int(app(list(arguments), prog_name=PROGRAM, standalone_mode=False) or ExitCode.DONE)
    except UserError as error:
        return fail(error, as_json)
    except typer.TyperException as error:
        # Without a message the help was shown: no command was named.
        return fail(misuse(error), as_json) if error.format_message() else ExitCode.WRONG
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:
        return crash(error, as_json)


def misuse(error: typer.TyperException) -> UserError:
    """A command line that cannot be read, as the error that all commands end with."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else PROGRAM
    found = error.format_message().strip().rstrip(".")
    usage = " ".join(context.command.collect_usage_pieces(context)) if context else "--help"
    return UserError(path.removeprefix(PROGRAM).strip() or PROGRAM, f"the command line must read `{path} {usage}`",
                     found[:1].lower() + found[1:], f"see `{path} --help`")


def fail(error: UserError, as_json: bool) -> int:
    """Print an error on stderr; gives its exit code."""
    if as_json:
        complain(error.record())
    else:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
    return error.code


def crash(error: Exception, as_json: bool) -> int:
    """Print an error that nobody foresaw, with its stack trace."""
    found = f"{type(error).__name__}: {error}"
    unforeseen = UserError(PROGRAM, "a command must end as its help says", found, "report it with the stack trace")
    trace = "".join(traceback.format_exception(error))
    if as_json:
        complain(unforeseen.record() | {"exit_code": int(ExitCode.BUG), "trace": trace})
    else:
        typer.secho(f"{trace}{unforeseen}", fg=typer.colors.RED, err=True)
    return ExitCode.BUG


def complain(error: dict[str, object]) -> None:
    """Print an error for programs: the last line of stderr is one JSON object."""
    import json

    print(json.dumps({"error": error}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
