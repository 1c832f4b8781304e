"""Runs an exported network in SANA-FE: python run_sanafe.py FOLDER STEPS OUT.json MODEL...

Of every timing model: seconds and joules of each step, who fired, and CPU seconds of the run.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import sanafe


def run(folder: Path, steps: int, model: str) -> dict[str, Any]:
    """One run from rest."""
    arch = sanafe.load_arch(str(folder / "architecture.yaml"))
    chip = sanafe.SpikingChip(arch)
    chip.load(sanafe.load_net(str(folder / "network.yaml"), arch))
    begin = time.process_time()
    found = chip.sim(steps, timing_model=model, processing_threads=1, spike_trace=True, perf_trace=True)
    spent = time.process_time() - begin
    trace = found["perf_trace"]
    fired = [sorted([n.group_name, n.neuron_offset] for n in step) for step in found["spike_trace"]]
    return {"seconds": trace["sim_time"], "joules": trace["total_energy"], "fired": fired, "cpu": spent}


if __name__ == "__main__":
    where, steps, out, *models = sys.argv[1:]
    Path(out).write_text(json.dumps({model: run(Path(where), int(steps), model) for model in models}))
