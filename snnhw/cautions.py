"""What a person must know before believing a result: typed, so that programs can read it too.

`artifact.warnings` and `comparison.warnings` are tuples of these, printed first, in `--json` and in reports; an empty
one means that nothing is to be said.
"""

from __future__ import annotations

from dataclasses import dataclass

from snnhw.errors import shown


@dataclass(frozen=True)
class Caution:
    """One warning (docs/warnings.md lists their codes).

    Args:
        code: stable, kebab-case name.
        where: layer path, file or field that it is about.
        what: what is the matter, one sentence.
        size: how large the matter is, as measured or proven; '' where nothing tells.
        fix: what to do about it.
    """

    code: str
    where: str
    what: str
    size: str = ""
    fix: str = ""

    def __str__(self) -> str:
        size = f" ({self.size})" if self.size else ""
        fix = f"; {self.fix}" if self.fix else ""
        return shown(f"{self.code}: {self.where}: {self.what}{size}{fix}")


SILENT = "silent-output"


def silent_output(population: str, size: str) -> Caution:
    """The output layer sends nothing: every prediction is a tie."""
    return Caution(
        SILENT,
        population,
        "no neuron of the output layer fires: all predictions are ties, which go to class 0",
        size,
        "train for spikes in it, give it larger inputs, or read its membrane",
    )


def one_sample() -> Caution:
    """Scales and rounding were told from a single sample."""
    return Caution(
        "one-calibration-sample",
        "calibration",
        "scales and rounding fit one sample only",
        "1 sample",
        "give some training samples: --calibrate DATA.npz, calibrate=, or a batch as the example; 64 are used",
    )
