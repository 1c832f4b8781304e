"""Everything that Lava 0.10.0 needs to run here although it is archived: install check, import trick, patches.

Lava declares Python 3.10 and numpy < 2; it runs on Python 3.11 to 3.13 and numpy 2 (measured). None of the patches
touches arithmetic: they concern a dataclass default, a renamed numpy argument, where shared memory lives, and how
the compiler looks for process models.
"""

from __future__ import annotations

import dataclasses
import functools
import mmap
from collections.abc import Callable
from importlib import metadata, util
from typing import Any

LAVA_VERSION = "0.10.0"
DEPENDENCIES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "networkx": "networkx",
    "asteval": "asteval",
    "sklearn": "scikit-learn",
}
INSTALL = f"pip install --no-deps --ignore-requires-python lava-nc=={LAVA_VERSION}"


def lava_status() -> tuple[bool, str, str]:
    """Whether Lava can be used: (ok, what was found, command that repairs it or '')."""
    missing = [package for module, package in DEPENDENCIES.items() if not has_module(module)]
    repair = " ".join(["pip install", *DEPENDENCIES.values()]) + f" && {INSTALL}"
    found = installed_version()
    if found is None:
        return False, "lava-nc is not installed", repair
    if found != LAVA_VERSION:
        return False, f"lava-nc {found} is installed, {LAVA_VERSION} is needed", repair
    if missing:
        return False, f"lava-nc {found} lacks " + ", ".join(missing), "pip install " + " ".join(missing)
    return True, f"lava-nc {found}", ""


def installed_version() -> str | None:
    """Version of the installed lava-nc, or None."""
    try:
        return metadata.version("lava-nc")
    except metadata.PackageNotFoundError:
        return None


def has_module(name: str) -> bool:
    """Whether a module can be found, without importing it."""
    return util.find_spec(name) is not None


def prepare() -> None:
    """Import Lava and apply the patches; call once, in the worker, before any other Lava import."""
    _import_var_model()
    _patch_reshape()
    _patch_shared_memory()
    _patch_discovery()


def _import_var_model() -> None:
    """`lava.magma.compiler.var_model` gives a dataclass field an unhashable default, which Python >= 3.11 refuses."""
    plain = dataclasses.dataclass
    patched: Any = functools.partial(plain, unsafe_hash=True)
    dataclasses.dataclass = patched
    try:
        import lava.magma.compiler.var_model  # noqa: F401
    finally:
        dataclasses.dataclass = plain


def _patch_reshape() -> None:
    """`ReshapePort` calls `np.reshape(newshape=...)`, an argument that numpy 2.1 deprecates and 2.5 drops."""
    from lava.magma.core.process.ports.ports import ReshapePort

    def reshaper(shape: tuple[int, ...]) -> Any:
        return functools.partial(_reshape, shape)

    ReshapePort.get_transform_func_fwd = lambda port: reshaper(port.shape)
    ReshapePort.get_transform_func_bwd = lambda port: reshaper(port.old_shape)


def _reshape(shape: tuple[int, ...], data: Any) -> Any:
    return data.reshape(shape)


class _Anonymous:
    """Shared memory without a name: inherited by fork, gone with its last process, so a kill leaks nothing."""

    def __init__(self, size: int) -> None:
        self.map = mmap.mmap(-1, max(size, 1))
        self.buf = memoryview(self.map)


def _patch_shared_memory() -> None:
    """Named segments in /dev/shm would stay behind when the process group is killed, and containers limit them."""
    from lava.magma.runtime.message_infrastructure.shared_memory_manager import SharedMemoryManager

    nothing: Callable[[Any], None] = lambda manager: None  # noqa: E731
    SharedMemoryManager.__init__ = nothing
    SharedMemoryManager.start = nothing
    SharedMemoryManager.shutdown = nothing
    SharedMemoryManager.create_shared_memory = lambda manager, size: _Anonymous(size)


def _patch_discovery() -> None:
    """Lava executes every module beside a process's own to find its models, once per process; ours names its model."""
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs

    def declared(proc: Any) -> list[Any]:
        return [proc.declared_model]

    ProcGroupDiGraphs._find_proc_models = staticmethod(declared)
