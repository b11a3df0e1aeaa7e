"""schemas/README.md, derived from the contracts: `python -m schemas.docs` writes it, a test fails where it is stale."""
from __future__ import annotations

from typing import Any

import schemas

FILE = schemas.FOLDER / "README.md"
HEAD = """# Contracts

Every message is an Avro schema (`*.avsc`), every topic a row of `topics.yaml`; SQL tables (`python -m schemas.ddl`),
column layouts (`codec.py`) and this page follow from them. Wire format: one zero byte, the schema id as four bytes, big
endian, the Avro body. Compatibility: FULL_TRANSITIVE; a breaking change is a new topic ending in `.v2`.

Amounts of the ledger are whole units (`"unit": "1e-9 quote"` on a long): divided by 10^9 they are quote currency, base
units or a price. `units.py` does that for every reader that is not exact.

Written by `python -m schemas.docs`; do not edit.

## Versions

`history/NAME/N.avsc` keeps every version that a contract has had, the newest being the contract itself.
`python -m schemas.compatibility` compares each contract with all its versions by Avro's resolution, in both directions,
and with those of a registry (`--registry URL`); it names field, rule and remedy. To change a contract: edit the
`.avsc`, record it (`--record`, refused where it breaks a rule), write this page, commit all three.

| change | possible |
| --- | --- |
| add a field | with a default |
| remove a field | if every version had a default for it |
| add or remove an enum symbol | if the enum had a default in every version, which readers without the symbol see |
| reorder fields or symbols, change a default or text, string to bytes and back | yes |
| int to long, a number to double, null allowed | no, an old reader could not follow: add a wider field beside it |
| anything else | a new topic ending in `.v2` |

Readers resolve whatever version wrote a message (`resolution.py`), so recorded logs stay readable. A value that a
reader has no place for is refused alone: on `market.ticks.v1` it becomes a dead letter with reason `unresolved`.

## Topics

| topic | message | key | partitions | kept |
| --- | --- | --- | --- | --- |
"""


def type_name(kind: Any) -> str:
    """A type in words.

    >>> type_name(["null", "double"])
    'double or null'
    """
    if isinstance(kind, str):
        return kind
    if isinstance(kind, list):
        return f"{type_name(kind[1])} or null"
    if kind["type"] == "array":
        return f"array of {type_name(kind['items'])}"
    return f"enum {', '.join(kind['symbols'])}" if kind["type"] == "enum" else str(kind["name"])


def page() -> str:
    """The whole page."""
    topics = schemas.topics().values()
    rows = [f"| `{t.name}` | [{schemas.load(t.schema)['name']}](#{schemas.load(t.schema)['name'].lower()}) | {t.key} | "
            f"{t.partitions} | {'for ever' if t.retention_hours < 0 else f'{t.retention_hours} h'} |" for t in topics]
    parts = [_record(schemas.load(name)) for name in dict.fromkeys(t.schema for t in topics)]
    return HEAD + "\n".join(rows) + "\n\n" + "\n".join(parts)


def _record(schema: dict[str, Any]) -> str:
    rows = "\n".join(f"| `{f['name']}` | {type_name(f['type'])} | {f['doc']} |" for f in schema["fields"])
    arrays = [f["type"]["items"] for f in schema["fields"] if isinstance(f["type"], dict) and "items" in f["type"]]
    inner = [items for items in arrays if isinstance(items, dict)]
    head = f"## {schema['name']}\n\n{schema['doc']}\n\n| field | type | meaning |\n| --- | --- | --- |\n{rows}\n"
    return "\n".join([head, *map(_record, inner)])


if __name__ == "__main__":
    FILE.write_text(page())
    print(f"wrote {FILE}")
