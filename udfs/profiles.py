"""Strategies as typed profiles: every number a stage uses, with its unit, default and one sentence.

A profile is a value: it never changes while a job runs, and its digest is written into every decision.
"""
from __future__ import annotations

import hashlib
import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NS = 1_000_000_000
UNLIMITED = math.inf


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Admission(_Part):
    """Bounds on a tick's event time. Both compare times inside the log, never with a clock."""

    max_ahead_s: float = Field(60.0, gt=0, description="Most that event time may run ahead of receive time, seconds.")
    max_behind_s: float = Field(60.0, gt=0, description="Most that it may lie behind its partition's latest, seconds.")


class Alphas(_Part):
    """Which alphas run, and how their scores become forecasts."""

    names: tuple[str, ...] = Field(description="Alphas of udfs/alphas.py, in the order of their weights.")
    horizon: int = Field(20, ge=1, le=64, description="Ticks of the symbol that a forecast looks ahead.")
    memory: int = Field(2_000, ge=100, description="Ticks over which realised forecasts are averaged.")


class Ensemble(_Part):
    """How forecasts become one."""

    blend: Literal["error", "logistic"] = Field("error", description="By realised error per regime, or fixed weights.")
    weights: tuple[float, ...] = Field((), description="Weights of the scores in the logistic blend.")
    warm_up: int = Field(500, ge=0, description="Returns of the symbol before the score may leave 0.")
    intervals: Literal["normal", "adaptive"] = Field(
        "normal", description="Quantiles of the normal law, or corrected until 90 % of outcomes lie inside.")
    interval_step: float = Field(0.02, gt=0, lt=1, description="Step of an adaptive interval at an outcome, logarithm.")


class Risk(_Part):
    """Value at risk and CVaR of each symbol over its next tick: a filter of volatility, and a law of the tail."""

    window: int = Field(500, ge=20, le=5_000, description="Returns held.")
    method: Literal["historical", "cornish_fisher", "extreme"] = Field(
        "historical", description="Law of the tail: the window itself, its first four moments, or a Pareto tail.")
    filter: Literal["none", "ewma", "garch"] = Field(
        "none", description="Conditional volatility that returns are divided by, and the tail multiplied with.")
    tail: Literal["ceil", "rockafellar_uryasev"] = Field(
        "rockafellar_uryasev", description="Tail of whole observations, or with a fractional weight on the last.")
    floor: float = Field(1e-9, gt=0, description="Least CVaR that sizing divides by, fraction.")
    least_cvar: float = Field(
        0.0, ge=0, description="Least CVaR in long-run volatilities: a price that stands still is not without risk.")
    decay: float = Field(0.94, gt=0, lt=1, description="Weight of the past in the EWMA variance, per tick.")
    garch_alpha: float = Field(0.05, ge=0, lt=1, description="Weight of the last squared return in GARCH(1,1).")
    garch_beta: float = Field(0.94, ge=0, lt=1, description="Weight of the last variance; their sum is below 1.")
    long_memory: int = Field(10_000, ge=100, description="Ticks over which long-run variance is averaged.")
    least_volatility: float = Field(
        0.25, ge=0, le=1, description="Least conditional volatility, as a share of the long-run one.")
    every: int = Field(
        10, ge=1, le=100, description="Ticks between new fits of cornish_fisher and extreme; volatility is never held.")
    threshold: float = Field(0.10, ge=0.05, le=0.25, description="Share of the window that a Pareto tail is fitted to.")
    shape_limit: float = Field(
        0.9, gt=0, lt=1, description="Pareto shape from which the window's own tail is used: at 1 it has no mean.")

    @model_validator(mode="after")
    def _consistent(self) -> Risk:
        if not self.garch_alpha + self.garch_beta < 1:
            raise ValueError(f"garch_alpha + garch_beta must be below 1, found {self.garch_alpha + self.garch_beta:g}; "
                             "above it variance has no mean")
        if self.every > self.window:
            raise ValueError(f"every must be at most window ({self.window}), found {self.every}; "
                             "else a full window would have no fit")
        return self


class Sizing(_Part):
    """From a score to a target. Every bound that is not infinite takes part; the smallest binds.

    Sizing never sees the ledger: fractions are of `reference_equity`.
    """

    entry: float = Field(0.35, ge=0, le=1, description="Least absolute score that may change the target.")
    cost_ratio: float = Field(0.0, ge=0, description="Least absolute mu over the relative spread; 0 asks for none.")
    reference_equity: float = Field(1_000_000.0, gt=0, description="Equity that fractions refer to, quote currency.")
    fixed_notional: float = Field(100_000.0, gt=0, description="Value of a position at full score, quote currency.")
    cvar_budget: float = Field(2.5e-5, gt=0, le=1, description="Most CVaR (97.5 %) of one position, fraction of "
                               "equity.")
    cvar_horizon_s: float = Field(0.0, ge=0, description="Event time that this CVaR is over, seconds; 0: one tick.")
    cvar_sample_s: float = Field(5.0, gt=0, description="Event time between the mids that a tick's CVaR is carried to "
                                 "the horizon by, seconds.")
    cvar_band: float = Field(UNLIMITED, ge=1, description="CVaR over its budget at which a held target is cut to the "
                             "budget; infinite leaves held targets alone.")
    kelly_fraction: float = Field(UNLIMITED, gt=0, description="Part of the full Kelly bet; infinite turns Kelly off.")
    kelly_shrink: float = Field(1.0, ge=0, description="Variance of mu over sigma squared, in shrinking mu.")
    symbol_cap: float = Field(UNLIMITED, gt=0, description="Most absolute target of one symbol, quote currency.")
    gross_cap: float = Field(UNLIMITED, gt=0, description="Most sum of absolute targets, quote currency.")
    lot: float = Field(0.0, ge=0, description="Step of a target, base units, rounded towards 0; 0: any value.")
    min_notional: float = Field(0.0, ge=0, description="Least absolute target; a smaller one is 0, quote currency.")
    select: int = Field(0, ge=0, le=256, description="Symbols that may take a new target (the K of top K); 0: all.")
    select_hold: int = Field(0, ge=0, le=256, description="Rank up to which a target once taken is kept; at least "
                             "`select`.")
    select_noise: float = Field(0.1, gt=0, description="Absolute score that is worth no more than noise.")
    select_penalty: float = Field(1.0, ge=0, le=1, description="Part of the correlation that counts against a choice.")
    select_bars: int = Field(120, ge=30, le=5_000, description="Joint bars that correlations are measured over.")
    select_bar_ns: int = Field(NS, gt=0, description="Event time of one joint bar; ranks are renewed with each, ns.")


class Fills(_Part):
    """The ledger, the last gates and the execution model. Amounts are whole units of 1e-9 there (udfs/money.py)."""

    account: str = Field("paper", min_length=1, description="Account the ledger belongs to.")
    initial_cash: float = Field(1_000_000.0, ge=0, le=1e9, description="Cash at the start, quote currency.")
    order: Literal["market", "limit"] = Field("market", description="What an order is: market, or limit.")
    price: Literal["mid", "cross"] = Field("cross", description="Market orders fill at mid, or at the far side.")
    size: Literal["whole", "displayed"] = Field(
        "whole", description="An order fills whole at once, or at most by the displayed size a tick.")
    limit_offset_bps: float = Field(
        0.0, ge=-1_000, le=1_000, description="Limit price behind the near side (negative: towards the far one), bps.")
    order_life_ns: int = Field(0, ge=0, description="Event time in which an open order expires; 0: never, ns.")
    queue_power: float = Field(
        1.0, gt=0, le=10, description="Exponent n of the queue: of what leaves a level b^n/(a^n+b^n) is behind.")
    depth_traded: float = Field(
        0.5, ge=0, le=1, description="Part of a fall of displayed size taken for trades where the venue sends none.")
    fee_bps: float = Field(0.0, ge=0, le=1_000, description="Fee of a fill that takes, basis points of its value.")
    maker_fee_bps: float = Field(
        0.0, ge=-100, le=1_000, description="Fee of a fill that rested, basis points of its value; negative: a rebate.")
    impact_bps: float = Field(
        0.0, ge=0, le=1_000, description="Move against an order as large as the displayed size, square root, bps.")
    latency_ns: int = Field(0, ge=0, description="Event time from decision to the earliest fill, ns.")
    lot: float = Field(1.0, ge=1e-9, le=1e9, description="Smallest quantity, base units.")
    mark_every_ns: int = Field(NS // 10, ge=0, description="Event time between equity rows; 0 marks at every tick.")
    bar_ns: int = Field(NS, gt=0, description="Event time of one bar of the account's CVaR.")
    max_position: float = Field(UNLIMITED, gt=0, description="Most absolute value of one position, quote currency.")
    max_gross: float = Field(UNLIMITED, gt=0, description="Most sum of absolute position values, quote currency.")
    max_concentration: float = Field(UNLIMITED, gt=0, description="Most share of gross in one symbol, fraction.")
    concentration_from: float = Field(
        0.0, ge=0, le=1e9, description="Least gross that shares are taken of: the first position is no risk by itself.")
    max_day_loss: float = Field(
        UNLIMITED, gt=0, description="Loss in a UTC day from which only reducing orders pass until it ends, quote.")
    reduce_drawdown: float = Field(UNLIMITED, gt=0, description="Drawdown from which only reducing orders pass.")
    halt_drawdown: float = Field(UNLIMITED, gt=0, description="Drawdown from which no order passes.")
    cvar_limit: float = Field(UNLIMITED, gt=0, description="Most account CVaR (97.5 %, one bar), quote currency.")


class Profile(_Part):
    """One strategy, whole."""

    name: str
    admission: Admission = Admission()
    alphas: Alphas
    ensemble: Ensemble = Ensemble()
    risk: Risk = Risk()
    sizing: Sizing = Sizing()
    fills: Fills = Fills()

    @property
    def text(self) -> str:
        """All settings as JSON, in the order of this file; null where one is infinite.

        >>> get("reference").text[:36]
        '{"name":"reference","admission":{"ma'
        """
        return self.model_dump_json()

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of all settings.

        >>> len(get("reference").digest)
        16
        """
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


REFERENCE = Profile(
    name="reference",
    alphas=Alphas(names=("book_pressure_vol", "momentum_3_6", "mean_reversion_50")),
    ensemble=Ensemble(blend="logistic", weights=(1.2, 0.6, 0.9)),
    risk=Risk(tail="ceil"),
    fills=Fills(price="mid"),
)
"""bench/SEMANTICS.md exactly: its checksums are the test. No limit but its own, no cost."""

DEFAULT = Profile(
    name="default",
    alphas=Alphas(names=("book_pressure", "order_flow", "micro_price_gap", "trade_flow", "momentum_3_6", "breakout",
                         "mean_reversion_50", "volatility_regime", "lead_lag", "spread_dynamics", "seasonality",
                         "learned_linear")),
    risk=Risk(filter="garch", least_cvar=1.0),
    ensemble=Ensemble(intervals="adaptive"),
    sizing=Sizing(entry=0.10, cost_ratio=0.12, fixed_notional=100_000.0, cvar_budget=0.01, cvar_horizon_s=86_400.0,
                  cvar_band=1.25, kelly_fraction=0.25, symbol_cap=100_000.0, gross_cap=500_000.0, lot=1e-4,
                  min_notional=10.0, select=5, select_hold=8),
    fills=Fills(size="displayed", fee_bps=0.02, latency_ns=5_000_000, lot=1e-4, max_position=150_000.0,
                max_gross=600_000.0, max_concentration=0.5, concentration_from=300_000.0, max_day_loss=50_000.0,
                reduce_drawdown=0.10, halt_drawdown=0.15, cvar_limit=10_000.0),
)
"""Twelve alphas, blended by realised error per regime, sized by Kelly, CVaR budget and caps, filled across the spread.

A target changes only where mu over the horizon is at least 0.12 of the spread: it is then held for many horizons. On
two minutes of the simulator 0 made 6,644 fills and lost 1.2 % to the spread, 0.05 made 1,932 and lost 0.3 %, 0.1 made
391 and lost 0.06 %, 0.12 made 144 and lost 0.02 %, 0.15 made 10, 0.2 none.

Risk is history filtered by GARCH with a floor of one long-run volatility: of all methods it has the least or nearly the
least Fissler-Ziegel loss on every recording (tests/bench/risk_backtest.py).
"""

SLOW = DEFAULT.model_copy(update={"name": "slow", "alphas": DEFAULT.alphas.model_copy(
    update={"names": (*DEFAULT.alphas.names, "macro_gauge", "news_sentiment")})})
"""`default` and the two alphas that read slow data (docs/slow-data.md). What they are worth is not known."""

_PROFILES = {profile.name: profile for profile in (REFERENCE, DEFAULT, SLOW)}


def names() -> list[str]:
    """Names that `get` knows."""
    return sorted(_PROFILES)


def get(name: str) -> Profile:
    """The profile of that name; KeyError with the known names otherwise."""
    if name not in _PROFILES:
        raise KeyError(f"no strategy profile {name!r}; known: {', '.join(names())}")
    return _PROFILES[name]
