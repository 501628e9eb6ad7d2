"""Settings of the memory allocator of the process."""

from __future__ import annotations

import ctypes

# Constants of mallopt(3) in glibc; the block size is the largest allowed value.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEEP_BYTES, _LARGEST_BLOCK_BYTES = 512 << 20, 32 << 20


def keep_freed_memory() -> None:
    """Make glibc keep the memory of freed images for the next frame. Call it at the start of the process.

    By default glibc returns the memory of each temporary image to the kernel and gets it back page by page, which costs
    several milliseconds per VGA frame. All threads use one arena, because other arenas would still return memory. Does
    nothing if the allocator is not that of glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Return freed memory to the kernel once, for example after an engine was replaced and two were in memory."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
