"""The program with one safeguard taken away, by a patch from outside."""

from __future__ import annotations


def mutate(name: str) -> None:
    """Take the safeguard away from this process."""
    raise NotImplementedError(name)
