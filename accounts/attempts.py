"""How often somebody may try passwords, or ask for a mail, before they have to wait.

Counted in the cache, for every process alike: by e-mail and network address, so that nobody can
lock out another person from elsewhere; and by address alone, against trying one password on many
people. Mails are counted by e-mail alone, so that nobody's mailbox is flooded.

A small limiter of our own, because it serves sign-in, the API's password grant and the reset
alike, with the same counters for every door that takes a password; django-axes covers only
`authenticate()` and knows no answer in words.
"""

import hashlib
from dataclasses import dataclass

from django.core.cache import cache

WINDOW_S = 300
PER_PERSON = 10
PER_ADDRESS = 100


class TooManyAttempts(Exception):
    """Too many were made; the next may be after `wait_s` seconds at the latest."""

    def __init__(self, wait_s: int):
        super().__init__(f"Too many attempts. Try again in {wait_s} seconds.")
        self.wait_s = wait_s


@dataclass(frozen=True)
class Limit:
    """At most so many within the window, by the same of what `by` names."""

    by: tuple[str, ...]
    most: int
    window_s: int = WINDOW_S


@dataclass(frozen=True)
class Purpose:
    """What is attempted, and its limits."""

    name: str
    limits: tuple[Limit, ...]


PASSWORD = Purpose(
    "password", (Limit(("email", "address"), PER_PERSON), Limit(("address",), PER_ADDRESS))
)
MAIL = Purpose("mail", (Limit(("email",), 3, 3600), Limit(("address",), 30, 3600)))


def count_attempt(*, email: str, address: str, purpose: Purpose = PASSWORD) -> None:
    """Count a try before anything is looked at. Raises TooManyAttempts."""
    for limit, key in _counters(purpose, email, address):
        cache.add(key, 0, limit.window_s)
        try:
            tries = cache.incr(key)
        except ValueError:  # the window ended between the two lines
            cache.set(key, 1, limit.window_s)
            tries = 1
        if tries > limit.most:
            raise TooManyAttempts(limit.window_s)


def forgive_attempts(*, email: str, address: str, purpose: Purpose = PASSWORD) -> None:
    """Forget the person's tries, and this one of the address: the password was right."""
    for limit, key in _counters(purpose, email, address):
        if "email" in limit.by:
            cache.delete(key)
            continue
        try:
            cache.decr(key)
        except ValueError:
            return  # the window has ended: nothing is counted any more


def _counters(purpose: Purpose, email: str, address: str) -> list[tuple[Limit, str]]:
    """Each limit with the key of its counter, which holds no personal data."""
    subject = {"email": email.strip().lower(), "address": address}
    counters = []
    for limit in purpose.limits:
        text = " ".join([purpose.name, *(subject[part] for part in limit.by)])
        counters.append((limit, f"attempts:{hashlib.sha256(text.encode()).hexdigest()}"))
    return counters
