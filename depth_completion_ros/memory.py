"""The process's memory allocator, told how this package uses it."""

from __future__ import annotations

import ctypes

# mallopt(3) of glibc; the block size is the largest that it takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEEP_BYTES, _LARGEST_BLOCK_BYTES = 512 << 20, 32 << 20


def keep_freed_memory() -> None:
    """Let glibc keep freed images for the next frame instead of giving them back to the kernel. Call it at start.

    By default each temporary image is fetched anew, page by page: several milliseconds of a VGA frame. One arena for
    all threads, as those of other threads give memory back all the same. Does nothing where the allocator is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Give what is freed back to the kernel once, as after an exchange of engines, when two were in memory."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
