"""How often each operation was called."""

from collections import Counter

from simulator.fault_kinds import OPERATIONS


class Counts:
    """Calls per operation since the start, and how they were answered ("dropped" if they were not)."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.answered: dict[str, Counter[str]] = {operation: Counter() for operation in OPERATIONS}

    def clear(self) -> None:
        self.received.clear()
        for counter in self.answered.values():
            counter.clear()
