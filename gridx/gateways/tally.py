"""Counts of what happens, told to the log once a minute instead of once each."""

import logging
from collections import Counter
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class Tally:
    """What was counted since the last report, each with the newest example."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def count(self, name: str, number: int = 1, example: str = "") -> None:
        """Count something; the example is shown with it."""
        self._counts[name] += number
        if example:
            self._examples[name] = example

    def add(self, counts: Mapping[str, int]) -> None:
        for name, number in counts.items():
            self.count(name, number)

    def report(self) -> None:
        """Log what was counted, if anything, and begin anew."""
        if not self._counts:
            return
        parts = []
        for name, number in sorted(self._counts.items()):
            example = self._examples.get(name)
            parts.append(f"{name}: {number}" + (f" (last: {example})" if example else ""))
        logger.info("Since the last report: %s", ", ".join(parts))
        self._counts.clear()
        self._examples.clear()
