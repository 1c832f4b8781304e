"""NIR out: the float network of a source, or the quantised network of an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snnhw.artifact import Artifact
from snnhw.export.importers import for_importer
from snnhw.export.quantized import quantized_source
from snnhw.frontends.nir.file import write_nir
from snnhw.frontends.source import IntegerSource, Source


def write_graph(
    network: Source | IntegerSource | Artifact, path: str | Path, framework: str | None = None
) -> dict[str, Any]:
    """Write a NIR file, whole or not at all; it carries our metadata and reads back to the same network.

    Args:
        framework: 'snntorch', 'spikingjelly', 'sinabs', 'norse' or 'rockpool': written so that its importer gives the
            same spikes; None: by the literal meaning of NIR's parameters.

    Returns:
        What was written, for people: nodes, edges, steps.

    Raises:
        SourceError: 'no-graph', for a source of integers.
        SourceError, ArtifactError: 'cannot-say', with the node, where NIR or the importer has no words for it.
    """
    if isinstance(network, IntegerSource):
        network.nir_graph()
    source = quantized_source(network) if isinstance(network, Artifact) else network
    written = source if framework is None else for_importer(source, framework)
    write_nir(written.graph, path)
    return {
        "network": "quantised" if isinstance(network, Artifact) else "float",
        "for": framework or "any reader, by the literal meaning of NIR",
        "nodes": len(written.graph.nodes),
        "edges": len(written.graph.edges),
        "steps": written.deployment.steps,
    }
