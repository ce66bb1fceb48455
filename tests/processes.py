"""Processes that a test's own process has started, as Linux shows them."""

import os


def children() -> set[int]:
    """Ids of those that are still there."""
    own, found = os.getpid(), set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == own and state != "Z":
            found.add(int(entry))
    return found
