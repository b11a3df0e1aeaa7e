"""proposals.v1 to columns: what the fills job knows of sizing, first one wins."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jobs.chain.contracts import Contracts
from jobs.chain.messages import PROPOSALS, MicroBatch
from jobs.chain.shard import MODEL
from schemas.codec import Decoder
from schemas.packed import Packed
from udfs import models
from udfs.formulas import FORMULAS
from udfs.profiles import Profile
from udfs.stage import Columns, KeyedState, Store
from udfs.stages import admission, sizing
from udfs.symbols import Places, Slots

LAST = "last proposal"
"""Key of the account sequence number of the last proposal taken."""


class Proposals:
    """Reads micro-batches of proposals and drops repeats, which a restart of sizing may write."""

    def __init__(self, profile: Profile, contracts: Contracts, store: Store, state: KeyedState) -> None:
        self._store = store
        self._constraints, self._alphas = Places(sizing.CONSTRAINTS), Places(profile.alphas.names)
        self._decoder = Decoder(contracts.schema(PROPOSALS), contracts.writers(PROPOSALS))
        self._slots = Slots(state)
        self._last = int(store.get(LAST) or b"0")

    def read(self, batches: Sequence[MicroBatch]) -> Columns | None:
        """Columns of the proposals that are new, None where there are none."""
        columns = self._decoder.decode(Packed.concat([Packed.of(batch.messages) for batch in batches])).columns
        fresh = np.flatnonzero(columns["account_seq"] > np.maximum.accumulate(
            np.concatenate([[self._last], columns["account_seq"][:-1]])))
        if not len(fresh):
            return None
        columns = admission.take(columns, fresh)
        self._last = int(columns["account_seq"][-1])
        self._store.put(LAST, lambda: b"%d" % self._last)
        return columns | {
            "slot": self._slots.find(columns["venue"], columns["symbol"], np.zeros(len(fresh), np.int64)),
            "intent": columns["intent_seq"],
            "spread": FORMULAS["spread"].over(columns["bid"], columns["ask"]),
            "binding": self._constraints.of(columns["binding_constraint"]),
            "model": models.numbers(columns[MODEL]),
            "top_alpha": self._alphas.of(columns["top_alpha"]),
            "gate_value": columns["gates.value"], "gate_limit": columns["gates.limit"],
            "gate_passed": columns["gates.passed"] > 0}

