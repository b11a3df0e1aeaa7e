"""`sigmaflow web`: serve the page until TERM or INT."""

from __future__ import annotations

import logging
import re
import threading

from connectors.stopping import on_signals
from sigmaflow.errors import Failed, UserError
from sigmaflow.settings import load
from sigmaflow.web.collect import parts
from sigmaflow.web.server import PageServer

STAGE = "web"


def run(account: str, port: int | None = None) -> None:
    """Serve one account's page. Raises UserError for a bad account name or a taken port."""
    if not re.fullmatch(r"[\w.:-]{1,100}", account):
        raise UserError(STAGE, "--account must be of letters, digits and . _ - :", f"it is {account!r}",
                        "name the account of the profile, paper by default")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings, asked = load(), on_signals()
    host, wanted = settings.web.host, settings.web.port if port is None else port
    try:
        server = PageServer(host, wanted, parts(settings, account))
    except OSError as error:
        raise Failed(STAGE, f"port {wanted} of {host} must be free", f"it is not ({error.strerror})",
                     f"open {settings.web.url}, where the stack serves the page, or name another --port") from None
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    print(f"{server.url} shows account {account}", flush=True)
    asked.wait()
    server.shutdown()
    server.server_close()
