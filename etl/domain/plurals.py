"""Counts with their noun, as people read them: 1 row, 2,000 rows."""


def plural(count: int, noun: str) -> str:
    """The count, with thousands separators, and the noun, with an s unless the count is 1."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
