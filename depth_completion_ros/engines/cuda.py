"""The GPU's memory, stream and context: the only place that handles them. PyCUDA is imported when first needed.

All work happens in the device's primary context, which CUDA's runtime, TensorRT and PyTorch use too.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from ..errors import ConfigurationError


class Gpu:
    """The first GPU; ``with gpu:`` makes it current in the calling thread. CUDA_VISIBLE_DEVICES chooses another.

    name: as its maker calls it. capability: its compute capability, major and minor.
    Raises ConfigurationError, naming the mend, without PyCUDA, NVIDIA's driver or a GPU.
    """

    def __init__(self) -> None:
        self._driver = _driver()
        self._context, device = _primary_context()
        self.name: str = device.name()
        self.capability: tuple[int, int] = device.compute_capability()

    def __enter__(self) -> Gpu:
        self._context.push()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._driver.Context.pop()

    def stream(self) -> Stream:
        """A queue of work of its own; to be made, used and dropped while the GPU is current."""
        return Stream(self._driver)


class Stream:
    """Copies and kernels run in the order they were asked for, beside the caller. handle: for other libraries."""

    def __init__(self, driver: ModuleType):
        self._driver = driver
        self._stream = driver.Stream()
        self.handle: int = self._stream.handle

    def buffer(self, size: int) -> Buffer:
        """Room for ``size`` float32 numbers."""
        return Buffer(self._driver, self._stream, size)

    def wait(self) -> None:
        """Return when all that was asked for is done. Raises the driver's error if any of it failed."""
        self._stream.synchronize()


class Buffer:
    """Page-locked memory here and as much on the GPU: copies between the two do not hold up the caller.

    host: (size,) float32, viewed with ``view``. address: of the GPU's part. nbytes: of each part.
    Both are freed with the last reference, which must go while the GPU is current.
    """

    def __init__(self, driver: ModuleType, stream: Any, size: int):
        self._driver = driver
        self._stream = stream
        self.host: np.ndarray = driver.pagelocked_empty(size, np.float32)
        self.nbytes: int = self.host.nbytes
        self._memory = driver.mem_alloc(self.nbytes)
        self.address = int(self._memory)

    def view(self, shape: tuple[int, ...]) -> np.ndarray:
        """The first elements of ``host`` in this shape, not copied."""
        return self.host[: prod(shape)].reshape(shape)

    def upload(self, view: np.ndarray) -> None:
        """Begin to copy a view to the GPU."""
        self._driver.memcpy_htod_async(self.address, view, self._stream)

    def download(self, view: np.ndarray) -> None:
        """Begin to fill a view from the GPU."""
        self._driver.memcpy_dtoh_async(view, self.address, self._stream)


def _driver() -> ModuleType:
    try:
        import pycuda
    except ImportError as error:
        raise ConfigurationError(
            "the tensorrt engine needs PyCUDA: pip install pycuda, with the CUDA toolkit installed (it compiles "
            "against it); or choose another engine"
        ) from error
    try:
        import pycuda.driver as driver

        driver.init()
        count = driver.Device.count()
    except Exception as error:  # the error's class is the driver's, which may be what is missing
        raise ConfigurationError(
            f"NVIDIA's driver does not work with PyCUDA {pycuda.VERSION_TEXT} ({error}): check it with nvidia-smi, "
            "install PyCUDA again after a change of CUDA; or choose another engine"
        ) from error
    if count == 0:
        raise ConfigurationError(
            "no GPU is visible to CUDA: check nvidia-smi and CUDA_VISIBLE_DEVICES, or choose another engine"
        )
    return driver


@lru_cache(maxsize=1)
def _primary_context() -> tuple[Any, Any]:
    """The first device's primary context, and the device. Kept until the process ends: PyCUDA lets a primary context go
    only in the thread that took it, and in a loader's thread it would go before the worker is done.
    """
    device = _driver().Device(0)
    return device.retain_primary_context(), device
