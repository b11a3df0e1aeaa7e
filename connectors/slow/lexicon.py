"""Sentiment by a lexicon: VADER's rules for negation, degree and contrast, with words of finance.

VADER (Hutto and Gilbert 2014, "VADER: a parsimonious rule-based model for sentiment analysis of social media text")
ships its words in its package, so nothing is downloaded and the same text has the same score everywhere. General
lexicons misread finance (Loughran and McDonald 2011, "When is a liability not a liability?"): what is neutral there is
taken out here, and what moves prices is put in. The lists are ours; they are short and cover headlines, not filings.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

NEUTRAL = (
    "alert", "assurance", "commitment", "commitments", "credit", "crude", "debt", "demand", "free", "gross", "growth",
    "interest", "interested", "interests", "join", "kind", "legal", "liability", "limited", "lucky", "number",
    "party", "play", "profit", "profits", "risk", "risks", "secure", "secured", "securities", "security", "share",
    "shared", "shares", "special", "strike", "strong", "top", "tough", "treasury", "trust", "united", "well",
)
"""Words that VADER gives feeling and that say little in a headline about markets. Growth and strength come back below,
by what they are of."""

WORDS: dict[str, float] = {word: value for value, words in (
    (2.6, "soar soars soared soaring surge surges surged surging skyrocket skyrockets skyrocketed rally rallies "
           "rallied bullish breakthrough record-high all-time-high"),
    (2.0, "beat beats jump jumps jumped outperform outperforms outperformed upgrade upgrades upgraded upside "
           "rebound rebounds rebounded profitable topped tops exceeds exceeded outpaced windfall"),
    (1.5, "gain gains gained rise rises rose rising climb climbs climbed higher raises raised growth grew grows "
           "growing expand expands expanded expansion strong stronger strengthens approval approve approved "
           "approves dividend buyback buybacks boost boosts boosted recover recovers recovered recovery easing "
           "eases inflows wins won accelerates accelerated upbeat resilient record"),
    (-2.6, "plunge plunges plunged plunging crash crashes crashed crashing collapse collapses collapsed bankrupt "
           "bankruptcy insolvent insolvency default defaults defaulted fraud fraudulent bearish meltdown rout "
           "plummet plummets plummeted hacked hack exploit embezzlement delisted delisting liquidated "
           "liquidations"),
    (-2.0, "miss misses missed tumble tumbles tumbled slump slumps slumped downgrade downgrades downgraded loss "
           "losses recession selloff sell-off underperform underperforms underperformed lawsuit lawsuits sues "
           "sued probe investigation subpoena layoffs impairment writedown write-down charged indicted halts "
           "halted breach"),
    (-1.5, "fall falls fell falling drop drops dropped decline declines declined declining lower lowers lowered "
           "slide slides slid weak weaker weakens weakness slow slows slowed slowdown shrink shrinks shrank "
           "contraction cuts cut outflows delays delayed suspend suspends suspended shortfall warns warned "
           "warning inflation tariffs sanctions fined fine penalty recall recalls shutdown disappointing "
           "disappoints resigns"),
) for word in words.split()}
"""Valence from -4 to 4, as VADER's own."""


@dataclass(frozen=True)
class Score:
    """What a model says about a text: score in [-1, 1], confidence in [0, 1]; both None with an error."""

    score: float | None
    confidence: float | None
    answer: str
    error: str = ""


class Model(Protocol):
    """Something that scores texts."""

    name: str

    async def digest(self) -> str:
        """What tells this model from any other one."""

    async def score(self, text: str) -> Score:
        """The score of a text. Raises VenueError where it cannot be had now."""


class Lexicon:
    """The lexicon as a model.

    >>> lexicon = Lexicon()
    >>> lexicon.rate("Shares soar after profit beats estimates").score > 0.5
    True
    >>> lexicon.rate("Regulator did not approve the fund").score, lexicon.rate("").score
    (-0.2755, 0.0)
    """

    name = "lexicon"

    def __init__(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()
        held = self._analyzer.lexicon
        for word in NEUTRAL:
            held.pop(word, None)
        held.update(WORDS)
        self._digest = hashlib.sha256(json.dumps(sorted(held.items())).encode()).hexdigest()[:16]

    async def digest(self) -> str:
        """Hash of all words with their values."""
        return self._digest

    async def score(self, text: str) -> Score:
        """The score of a text, at once."""
        return self.rate(text)

    def rate(self, text: str) -> Score:
        """Score is VADER's compound; confidence the share of the text, by weight, that carries feeling."""
        found = self._analyzer.polarity_scores(text)
        return Score(found["compound"], round(found["pos"] + found["neg"], 3), json.dumps(found))
