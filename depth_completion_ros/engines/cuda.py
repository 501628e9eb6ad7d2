"""Memory, streams and context of the GPU, based on PyCUDA. PyCUDA is imported when it is first needed.

Everything uses the device's primary context, which the CUDA runtime, TensorRT and PyTorch use too.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from ..errors import ConfigurationError


class Gpu:
    """The first GPU. ``with gpu:`` makes it current in the calling thread. CUDA_VISIBLE_DEVICES selects another GPU.

    Attributes:
        name: Product name.
        capability: Compute capability, major and minor.

    Raises:
        ConfigurationError: If PyCUDA, the NVIDIA driver or a GPU is missing. The message says how to fix it.
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
        """Create a CUDA stream. Create, use and delete it while the GPU is current."""
        return Stream(self._driver)


class Stream:
    """A CUDA stream: copies and kernels run asynchronously in the order of the calls.

    Attributes:
        handle: The CUDA handle, for other libraries.
    """

    def __init__(self, driver: ModuleType):
        self._driver = driver
        self._stream = driver.Stream()
        self.handle: int = self._stream.handle

    def buffer(self, size: int) -> Buffer:
        """Create a buffer for ``size`` float32 numbers."""
        return Buffer(self._driver, self._stream, size)

    def wait(self) -> None:
        """Wait until all work in the stream is done. Raises the driver's error if a part of it failed."""
        self._stream.synchronize()


class Buffer:
    """Page-locked host memory and GPU memory of the same size. Copies between the two are asynchronous.

    Both are freed with the last reference, which must be deleted while the GPU is current.

    Attributes:
        host: (size,) float32 array in host memory; use ``view`` to access it.
        address: Address of the GPU memory.
        nbytes: Size of the host memory, which is also the size of the GPU memory [bytes].
    """

    def __init__(self, driver: ModuleType, stream: Any, size: int):
        self._driver = driver
        self._stream = stream
        self.host: np.ndarray = driver.pagelocked_empty(size, np.float32)
        self.nbytes: int = self.host.nbytes
        self._memory = driver.mem_alloc(self.nbytes)
        self.address = int(self._memory)

    def view(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the first elements of ``host`` as an array of this shape, without a copy."""
        return self.host[: prod(shape)].reshape(shape)

    def upload(self, view: np.ndarray) -> None:
        """Start copying a view to the GPU."""
        self._driver.memcpy_htod_async(self.address, view, self._stream)

    def download(self, view: np.ndarray) -> None:
        """Start copying from the GPU to a view."""
        self._driver.memcpy_dtoh_async(view, self.address, self._stream)


def _driver() -> ModuleType:
    try:
        import pycuda
    except ImportError as error:
        raise ConfigurationError(
            "the tensorrt engine needs PyCUDA: install the CUDA toolkit, which PyCUDA is compiled with, and then pip "
            "install pycuda; or choose another engine"
        ) from error
    try:
        import pycuda.driver as driver

        driver.init()
        count = driver.Device.count()
    except Exception as error:  # the driver module, which defines the class of the error, may be missing
        raise ConfigurationError(
            f"the NVIDIA driver does not work with PyCUDA {pycuda.VERSION_TEXT} ({error}): check the driver with "
            "nvidia-smi, and reinstall PyCUDA if the CUDA version has changed; or choose another engine"
        ) from error
    if count == 0:
        raise ConfigurationError(
            "no GPU is visible to CUDA: check nvidia-smi and CUDA_VISIBLE_DEVICES, or choose another engine"
        )
    return driver


@lru_cache(maxsize=1)
def _primary_context() -> tuple[Any, Any]:
    """Return the primary context of the first device, and the device.

    The context is kept until the process ends. PyCUDA releases a primary context only in the thread that retained it,
    and the thread that loads an engine would release it before the worker thread is done.
    """
    device = _driver().Device(0)
    return device.retain_primary_context(), device
