"""How `python -m connectors.X` ends: an error meant for the user is one sentence, and its kind the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sigmaflow.errors import ExitCode, UserError


def run(main: Callable[[], object]) -> None:
    """Call `main`; no stack trace for a UserError or an interrupt."""
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
