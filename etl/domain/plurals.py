"""Counts with their noun, as people read them: 1 row, 2,000 rows."""


def plural(count: int, noun: str) -> str:
    """The count, its thousands apart, and the noun in the form that goes with it; only nouns that take an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
