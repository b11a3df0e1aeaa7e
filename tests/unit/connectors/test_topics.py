"""What setup says of a contract that the registry refuses."""
from __future__ import annotations

import schemas
from connectors.registry import RegistryError
from connectors.topics import refusal

TICKS = schemas.topics()["market.ticks.v1"]
ANSWER = RegistryError(409, "Incompatible artifact")


def test_a_refused_contract_names_topic_version_field_and_rule() -> None:
    new = schemas.load("tick")
    new["fields"] = [field for field in new["fields"] if field["name"] != "bid"]
    text = str(refusal(TICKS, new, ANSWER, {3: schemas.load("tick")}))
    assert "schemas/tick.avsc must be FULL_TRANSITIVE with what is registered as market.ticks.v1-value" in text
    assert "schema id 3: bid: removed, and had no default: an old reader could not read new messages" in text


def test_a_refusal_that_our_rules_do_not_explain_is_the_registrys() -> None:
    assert "the registry says HTTP 409: Incompatible artifact" in str(
        refusal(TICKS, schemas.load("tick"), ANSWER, {3: schemas.load("tick")}))
