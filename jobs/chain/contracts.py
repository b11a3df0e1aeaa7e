"""Schema ids and writer schemas, looked up once at submit and carried into the operators."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import schemas
from schemas import layout

if TYPE_CHECKING:
    from connectors.registry import Later


@dataclass(frozen=True)
class Contracts:
    """What the registry said when the job was submitted: each topic's own id, and all versions that may be read."""

    ids: dict[str, int]
    versions: dict[str, dict[int, dict[str, Any]]]
    url: str = ""

    def id(self, topic: str) -> int:
        """Schema id to write a topic with."""
        return self.ids[topic]

    def schema(self, topic: str) -> dict[str, Any]:
        """This code's schema of a topic."""
        return schemas.load(schemas.topics()[topic].schema)

    def writers(self, topic: str) -> dict[int, dict[str, Any]]:
        """Every registered schema of a topic by id."""
        return self.versions[topic]

    def before(self, topic: str, field: str) -> dict[int, str]:
        """By schema id what a topic's messages hold before a field: s for each string, l for each whole number.

        Versions that do not have it, or something else before it, are left out.
        """
        found = {number: layout.before(schema, field) for number, schema in self.writers(topic).items()}
        return {number: kinds for number, kinds in found.items() if kinds is not None}

    def later(self, topic: str) -> Later | None:
        """Where a running job asks for a version that was registered after it started; None without a registry."""
        from connectors.registry import later

        return later(self.url, schemas.topics()[topic].subject) if self.url else None


def lookup(url: str, topics: Iterable[str]) -> Contracts:
    """Ask the registry at `url`. Raises UserError where it does not answer or a schema is not registered."""
    from connectors.registry import Registry, RegistryError
    from sigmaflow.errors import UserError

    registry, ids, versions = Registry(url), {}, {}
    for topic in topics:
        row = schemas.topics()[topic]
        try:
            ids[topic] = registry.find(row.subject, schemas.text(row.schema))
            versions[topic] = registry.versions(row.subject)
        except RegistryError as error:
            raise UserError("submit", f"schemas/{row.schema}.avsc must be registered as {row.subject}", str(error),
                            "run `make setup-topics`") from None
    return Contracts(ids, versions, url)
