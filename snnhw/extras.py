"""Packages that only some commands need: pyproject.toml's extras, and the refusal where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from snnhw.errors import SnnhwError

EXTRAS = {
    "report": {"matplotlib": "matplotlib>=3.9,<4", "jinja2": "jinja2>=3.1,<4"},
    "onnx": {"onnx": "onnx>=1.16,<2", "onnxruntime": "onnxruntime>=1.20,<2"},
    "images": {"PIL": "pillow>=10,<14"},
    "cluster": {"distributed": "distributed>=2025.1"},
    "zarr": {"zarr": "zarr>=3,<4"},
    "train": {"sklearn": "scikit-learn>=1.5,<2"},
    "safetensors": {"safetensors": "safetensors>=0.4,<1"},
    "frames": {"pandas": "pandas>=2.2,<4"},
}
"""By extra: the names to import, and what pyproject.toml asks for."""


def require(extra: str, what: str) -> None:
    """Call it before the work, and before the import of a module that needs the extra.

    Args:
        what: the command, engine or method, as its user knows it.

    Raises:
        SnnhwError: 'needs-extra', with the packages that are missing and the command that installs them.
    """
    missing = [asked for name, asked in EXTRAS[extra].items() if not _found(name)]
    if missing:
        raise SnnhwError(
            "needs-extra",
            f"{what} needs packages of the extra {extra!r}",
            needed=", ".join(missing),
            hint="pip install " + " ".join(f"'{asked}'" for asked in missing),
        )


def not_importable(error: ImportError, where: str) -> SnnhwError:
    """The refusal where a package is missing, or broken, while a file is read: the file is not to blame."""
    name = (error.name or "").partition(".")[0]
    needed = {module: asked for packages in EXTRAS.values() for module, asked in packages.items()}.get(name)
    extra = next((extra for extra, packages in EXTRAS.items() if name in packages), None)
    return SnnhwError(
        "needs-extra",
        "a package that reading this file needs cannot be imported"
        if extra is None
        else f"reading this file needs packages of the extra {extra!r}",
        where=where or None,
        needed=needed or f"{name}: {error}" if name else str(error),
        hint=f"pip install '{needed}'" if needed else "install snnhw again, with its dependencies",
    )


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module that was put into sys.modules without a spec
        return True
