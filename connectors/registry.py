"""The schema registry through its Confluent-compatible interface: the few calls the project needs."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import schemas
from sigmaflow.errors import NotRunning, UserError
from sigmaflow.settings import Settings, load

TYPE = "application/vnd.schemaregistry.v1+json"
TIMEOUT_S = 20.0
LATER_TIMEOUT_S = 1.0


class RegistryError(Exception):
    """The registry answered with an error: HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.message = message


class Registry:
    """A client that remembers what cannot change: the schema of an id."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._schemas: dict[int, dict[str, Any]] = {}

    def schema(self, schema_id: int) -> dict[str, Any]:
        """The schema registered under an id. Raises RegistryError (404) for an unknown one."""
        if schema_id not in self._schemas:
            self._schemas[schema_id] = json.loads(self._call("GET", f"/schemas/ids/{schema_id}")["schema"])
        return self._schemas[schema_id]

    def register(self, subject: str, text: str) -> int:
        """Register a schema (no change where it already is) and give its id.

        Raises RegistryError (409) when it is not compatible with the earlier ones.
        """
        return int(self._call("POST", f"/subjects/{subject}/versions", {"schema": text})["id"])

    def find(self, subject: str, text: str) -> int:
        """Id of exactly this schema under the subject. Raises RegistryError (404) where it is not registered."""
        return int(self._call("POST", f"/subjects/{subject}", {"schema": text})["id"])

    def versions(self, subject: str) -> dict[int, dict[str, Any]]:
        """Every registered schema of a subject by id, oldest first."""
        rows = [self._call("GET", f"/subjects/{subject}/versions/{v}")
                for v in self._call("GET", f"/subjects/{subject}/versions")]
        return {int(row["id"]): json.loads(row["schema"]) for row in rows}

    def present(self, subject: str) -> dict[int, dict[str, Any]]:
        """As `versions`, and nothing where the subject is not registered yet. Raises UserError for other answers."""
        try:
            return self.versions(subject)
        except RegistryError as error:
            if error.status == 404:
                return {}
            raise UserError("registry", f"the schema registry must give the versions of {subject}",
                            f"it says {error}", "look at the registry's log with `make logs`") from None

    def set_compatibility(self, level: str) -> None:
        """Set the rule for every subject, for example FULL_TRANSITIVE."""
        self._call("PUT", "/config", {"compatibility": level})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": TYPE, "Accept": TYPE}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RegistryError(error.code, _message(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise NotRunning("registry", f"the schema registry must answer at {self.url}", f"it does not ({reason})",
                             "start the stack with `make start`") from None


class Later:
    """Versions of a subject that are registered while a job runs, for `Decoder`'s `find`.

    An unknown id costs one question of the registry, and none for `PAUSE_S` seconds after that, so that a stream of
    made-up ids cannot hold a job up. Until it is asked again, or while it does not answer, an id stays unknown.
    """

    PAUSE_S = 1.0
    FAILED_S = 30.0

    def __init__(self, versions: Callable[[], Mapping[int, dict[str, Any]]],
                 clock: Callable[[], float] = time.monotonic) -> None:
        """`versions` gives every schema of the subject by id, as `Registry.versions` does; it may raise its errors."""
        self._versions, self._clock = versions, clock
        self._held: Mapping[int, dict[str, Any]] = {}
        self._next = clock()

    def __call__(self, schema_id: int) -> dict[str, Any] | None:
        """The schema of an id of this subject; None where it is not known."""
        if schema_id not in self._held and self._clock() >= self._next:
            self._ask()
        return self._held.get(schema_id)

    def _ask(self) -> None:
        try:
            self._held, pause = self._versions(), self.PAUSE_S
        except (RegistryError, UserError):
            pause = self.FAILED_S
        self._next = self._clock() + pause


def later(url: str, subject: str) -> Later:
    """What a running job learns of a subject, with a short wait for an answer: ticks wait meanwhile."""
    return Later(lambda: Registry(url, timeout_s=LATER_TIMEOUT_S).versions(subject))


def _message(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]


@cache
def _id(url: str, subject: str, text: str) -> int:
    return Registry(url).find(subject, text)


def value_schema_id(topic: str, settings: Settings | None = None) -> int:
    """Id under which the project's schema of a topic is registered; asked once a process.

    Raises UserError where the topic is not in topics.yaml or its schema is not registered.
    """
    url = (settings or load()).registry.url
    row = schemas.topics().get(topic)
    if row is None:
        raise UserError("registry", "the topic must be one of schemas/topics.yaml", f"{topic!r} is not",
                        "use one of " + ", ".join(schemas.topics()))
    try:
        return _id(url, row.subject, schemas.text(row.schema))
    except RegistryError as error:
        raise UserError("registry", f"schemas/{row.schema}.avsc must be registered as {row.subject}", str(error),
                        "run `make setup-topics`") from None
