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


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module that was put into sys.modules without a spec
        return True
