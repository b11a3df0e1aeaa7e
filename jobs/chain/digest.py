"""Which code made a decision: one digest of everything that its bytes depend on."""
from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("udfs/**/*.py", "jobs/chain/*.py", "jobs/chain/jvm/*.java", "schemas/*.py", "schemas/*.avsc")


@cache
def code_digest() -> str:
    """First 16 hex digits of the SHA-256 of the sources of stages, workers and contracts, names included."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
