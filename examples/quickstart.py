"""Compile a trained network, run it bit-exactly, compare it with its float model: snnhw in Python.

python examples/quickstart.py
"""

from pathlib import Path

import snnhw
from snnhw.data import load_samples

here = Path(__file__).parent
data = load_samples(here / "fashion_mnist_500.npz").first(64)

artifact = snnhw.compile(here / "stbp_scnn.pt", target="loihi2")
result = snnhw.run(artifact, data.x, engine="fast", record="spikes")
print("predictions", result["predictions"][:10], "labels", data.y[:10])
print("spikes of the first sample in lif1:", int(result["spikes/lif1"][0].sum()))

comparison = snnhw.compare(here / "stbp_scnn.pt", artifact, data.x, data.y)
print(f"float {comparison.float_.accuracy:.1%}, integer {comparison.quantized.accuracy:.1%}")
band = comparison.energy.band
print(
    f"{comparison.synops:,.0f} synops, {band.likely * 1e6:.1f} uJ ({band.low * 1e6:.1f} to {band.high * 1e6:.1f}), "
    f"grade: {comparison.energy.grade}"
)
