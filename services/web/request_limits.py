"""How often somebody may ask: of an address, a session, a user."""

from __future__ import annotations

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.web.failures import Failure


class RequestLimits:
    """How often an address or a session may ask; counted in this process."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, who: str, what: str, *limits: RateLimitItem) -> None:
        """Count a request; raises Failure for one too many."""
        if not all(self._limiter.hit(one, what, who) for one in limits):
            failure = Failure(429, "too_many", "too many requests in a short time.", "wait a minute")
            failure.retry_after = 60
            raise failure
