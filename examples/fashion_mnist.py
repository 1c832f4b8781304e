"""Writes Fashion-MNIST as the DATA.npz that ``snnhw run`` and ``snnhw compare`` read.

    python examples/fashion_mnist.py --split test --out fashion_mnist_test.npz
    python examples/fashion_mnist.py --split test --samples 500 --out examples/fashion_mnist_500.npz

The images come from --folder, $SNNHW_FASHION_MNIST or the Debian package dataset-fashion-mnist. With --url
BASE the four .gz files are first fetched from BASE/<name>.gz into --folder; md5 is checked on reading.
"""

from __future__ import annotations

import shutil
import sys
import urllib.request
from functools import partial
from pathlib import Path

import click
import numpy as np

from snnhw import files
from snnhw.data import save_arrays
from snnhw.errors import SnnhwError
from snnhw.zoo.data import STEMS, first_per_class, load_fashion_mnist

SHUFFLE_SEED = 2021


def download(url: str, folder: Path) -> None:
    """Fetches the idx.gz files that the folder lacks; each appears only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (f"{stem}.gz" for stems in STEMS.values() for stem in stems):
        target = folder / name
        if not target.is_file():
            click.echo(f"fetching {name}", err=True)
            with urllib.request.urlopen(f"{url.rstrip('/')}/{name}") as answer:
                files.write({target: partial(shutil.copyfileobj, answer)})


@click.command(help=__doc__)
@click.option("--split", type=click.Choice(sorted(STEMS)), default="test", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--samples", type=int, help="The first N/10 of each class, shuffled with a fixed seed.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the idx files are.")
@click.option("--url", help="Base address to fetch missing files from, into --folder.")
def main(split: str, out: Path, samples: int | None, folder: Path | None, url: str | None) -> None:
    """See the module's text, which is the command's help."""
    if url and not folder:
        raise click.UsageError("--url needs --folder, the place to keep the files")
    try:
        if url and folder:
            download(url, folder)
        x, y = load_fashion_mnist(split, folder)
        if samples is not None:
            x, y = first_per_class(x, y, samples)
            order = np.random.default_rng(SHUFFLE_SEED).permutation(len(y))
            x, y = x[order], y[order]
        save_arrays(out, {"x": x, "y": y})
    except (SnnhwError, OSError) as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo(f"{out}: {len(y)} images of the {split} split", err=True)


if __name__ == "__main__":
    main()
