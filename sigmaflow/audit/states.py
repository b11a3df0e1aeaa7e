"""The trading state of an account, kept from its equity, its settings and what operators said: the rules once more.

ACTIVE, REDUCING while the drawdown or the day's loss is beyond its limit or an operator says so, HALTED for good by the
larger drawdown, an operator, or an amount beyond the ledger's range.
"""
from __future__ import annotations

from dataclasses import dataclass

from sigmaflow.audit.book import times
from sigmaflow.audit.config import OVER, Config

STATES = ACTIVE, REDUCING, HALTED = "ACTIVE", "REDUCING", "HALTED"
NONE, DRAWDOWN, DAY_LOSS, COMMAND, RANGE = "NONE", "DRAWDOWN", "DAY_LOSS", "COMMAND", "RANGE"
DAY_NS = 86_400 * 10**9


@dataclass
class Control:
    """State and cause, and what they follow from. `halted` is the cause of a halt that stays, `left` how often ACTIVE
    was left, `ordered` whether an operator asked for REDUCING.
    """

    peak: int
    day_equity: int
    state: str = ACTIVE
    cause: str = NONE
    halted: str = NONE
    ordered: bool = False
    left: int = 0
    day: int = 0
    day_lost: bool = False

    def begin(self, ts: int, equity: int) -> None:
        """Begin the UTC day of a tick, where it is a new one."""
        if ts // DAY_NS != self.day:
            self.day, self.day_equity, self.day_lost = ts // DAY_NS, equity, False

    def obey(self, command: str, equity: int) -> None:
        """Apply an operator's command."""
        if command == "HALT":
            self.halt(COMMAND)
        elif command in ("RESUME", "REDUCE"):
            if command == "RESUME" or self.halted != NONE:
                self.peak, self.day_equity, self.day_lost = equity, equity, False
            self.halted, self.ordered = NONE, command == "REDUCE"

    def halt(self, cause: str) -> None:
        """Halt for good, unless it is halted already."""
        self.halted = cause if self.halted == NONE else self.halted

    def judge(self, config: Config, equity: int) -> None:
        """Set the state by an equity."""
        if self._fallen(config.units["halt_drawdown"], equity):
            self.halt(DRAWDOWN)
        self.day_lost |= self.day_equity - equity >= config.units["max_day_loss"]
        before, (self.state, self.cause) = self.state, self._found(config, equity)
        self.left += before == ACTIVE != self.state

    def _found(self, config: Config, equity: int) -> tuple[str, str]:
        if self.halted != NONE:
            return HALTED, self.halted
        reasons = ((self.ordered, COMMAND), (self._fallen(config.units["reduce_drawdown"], equity), DRAWDOWN),
                   (self.day_lost, DAY_LOSS))
        cause = next((cause for holds, cause in reasons if holds), NONE)
        return (ACTIVE if cause == NONE else REDUCING), cause

    def settle(self, config: Config, equity: int) -> None:
        """Peak and state behind whatever a tick did."""
        self.peak = max(self.peak, equity)
        self.judge(config, equity)

    def _fallen(self, share: int, equity: int) -> bool:
        return share != OVER and self.peak > 0 and self.peak - equity >= times(self.peak, share)
