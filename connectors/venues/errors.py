"""What may go wrong with a venue.

VenueError
├── Lost           the connection is gone or silent: connect again
├── RateLimited    the venue says wait: connect or ask again, not before it says so
└── Refused        the venue says no: asking again will not help
"""

from __future__ import annotations


class VenueError(Exception):
    """Any of the below."""


class Lost(VenueError):
    """A connection that ended, could not be made, or has gone silent."""


class RateLimited(VenueError):
    """Too many requests (429), or banned for not heeding that (418)."""

    def __init__(self, status: int, wait_s: float) -> None:
        super().__init__(f"HTTP {status}, wait {wait_s:.0f} s")
        self.wait_s = wait_s


class Refused(VenueError):
    """A request that the venue does not accept: a symbol it does not know, a key it does not take."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status
