"""Gates take single spikes: the maximum or a product of counts is not the gate that it is for spikes."""

from __future__ import annotations

import nir
import numpy as np

from snnhw.errors import SourceError
from snnhw.frontends.graph import LINEAR, MEMBRANES, predecessors
from snnhw.semantics import Semantics


def refuse_counts(graph: nir.NIRGraph, semantics: Semantics) -> None:
    """Raise SourceError where a gate reads a layer that sends several spikes a step."""
    before = predecessors(graph)
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.Threshold):
            continue
        waiting, seen = list(before[name]), set()
        while waiting:
            pre = waiting.pop()
            if isinstance(graph.nodes[pre], LINEAR) and pre not in seen:
                seen.add(pre)
                waiting += before[pre] if np.any(getattr(graph.nodes[pre], "weight", 1.0)) else []
            elif isinstance(graph.nodes[pre], MEMBRANES) and semantics.at(pre).multispike != 1:
                raise SourceError(
                    "not-spikes",
                    "a maximum or a product of a layer that sends several spikes a step is not supported",
                    where=f"{name}: {pre}",
                    needed=f"{semantics.at(pre).multispike} spikes a step at most",
                    limit="1 spike a step",
                    hint="sinabs: spike_fn=SingleSpike; Rockpool: max_spikes_per_dt=1; or an average pool",
                )
