"""How this process uses memory: a load goes through buffers of some megabytes, one block after another."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
from contextlib import suppress
from typing import Final

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

# Above the buffers of a block; the largest value that every glibc takes.
_BUFFER_BYTES: Final = 32 << 20
_KEPT_BYTES: Final = 256 << 20

# Modules are made of some hundred thousand objects that stay.
_NEW_OBJECTS: Final = 20_000


def settle() -> None:
    """To be called once, before anything large is imported. Whatever is not to be had here is left as it is."""
    # Looking through all objects for garbage whenever 700 are new takes a tenth of the start; and looking through them
    # once more at the end, when they go anyway, longer than asking for a report that has not changed.
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)
    # Memory is kept for the next block. Given back to the system, each page of it would be cleared anew when it comes.
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _BUFFER_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        # Arrow's own allocator does it in its way, and takes a tenth of a second to get going.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
