"""What the session of a live connection knows besides the records of its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from connectors.market.book import Books


class LiveSession:
    """Reads the frames of one connection, recorded or live. A venue's session adds `frame`.

    `symbols` names what is subscribed, where that is known; `gap` says that an earlier connection was cut.
    """

    used: frozenset[str]
    """Kinds of frames that say something; all others are ignored."""

    def __init__(self, venue: str, symbols: Iterable[str] = (), gap: bool = False) -> None:
        self.books = Books(venue, symbols, gap)
        self.wanting = self.books.lost
        """Symbols whose snapshot must be asked for."""
        self.gaps = 0
        """Times that messages were lost."""
        self.sent_ns = 0
        """When the venue sent the last frame, ns since 1970; 0 where it did not say."""
        self.refusals: list[str] = []
        """What the venue has said that it does not accept."""
        self.checks: Counter[str] = Counter()
        """Times that a book's touch was `equal` to the venue's own best bid and offer, or `different`."""
