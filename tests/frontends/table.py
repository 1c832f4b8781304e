"""docs/frontends.md from what the tests of this folder found (`make frontends` writes it at its end)."""

from __future__ import annotations

import json
from typing import Any

from tests.frontends import models
from tests.frontends.environments import OVERLAYS, ROOT, matrix
from tests.frontends.harness import CELLS, LEAST_AGREEMENT

PAGE = ROOT / "docs" / "frontends.md"
HEAD = """# Networks of other frameworks

Written by `make frontends`: every number is from a run of `tests/frontends` against the real packages, each in an
environment of its own ([matrix.toml](../tests/frontends/matrix.toml)). `make setup` installs none of them, and snnhw
imports none: layers are told by the names of their classes.

```python
artifact = snnhw.compile(module, example_input, target="loihi2", calibrate=samples)
```

`compile` runs the module on the example, reads the torch operations that it calls and the parameters of its neurons,
and compares the result with the module, spike for spike, before it goes on. The module is left as it was.
`example_input` is what the module's forward takes; samples are always `(B, T, ...)`:

| framework | example_input |
| --- | --- |
| snnTorch | (T, N, ...) of a module that loops over time, or takes one step a call; (N, ...) with `steps=T` |
| plain torch, own neurons | what forward takes: (N, T, ...), (T, N, ...), (N, ...) shown T times, or one step a call |
| SpikingJelly | (T, N, ...) in step modes 's' and 'm'; (N, ...) with `steps=T`, or if forward shows it at every step |
| sinabs | (N, T, ...), or (N * T, ...) with squeezed layers |
| Norse | (T, N, ...): `Lift`, `SequentialState`, a loop in forward, or cells that take one step a call |
| Rockpool | (N, T, C) |

Networks of the frameworks' NIR exporters are read with `--dialect`; see `snnhw compile --help`.

## The matrix

*exact*: the float network gives the framework's own spikes; in brackets how many decisions were compared (neurons ×
steps × samples). *excepted*: decisions that the framework's float32 and our float64 take differently within 1e-5 of the
threshold; a sample is compared up to its first. Behind it, how many of {samples} predictions of the integer network
(loihi2, 8-bit weights) agree with the framework's; the least that the tests accept is {least:.0%}. Networks have seeded
weights and a readout fitted by least squares to four classes of spike trains; every layer spikes.
"""


def main() -> None:
    """Write the page from results of all environments that have run."""
    known = matrix()
    results = {name: _read(name) for name in known}
    rows = [[_title(name, known[name]), *(_cell(results[name], cell) for cell in CELLS)] for name in known]
    counts = {
        found[cell]["samples"] for found in results.values() for cell in CELLS if "samples" in found.get(cell, {})
    }
    text = HEAD.format(samples=" or ".join(str(n) for n in sorted(counts)) or "the", least=LEAST_AGREEMENT)
    people = [models.section(models.stored())] if models.stored() else _kept()
    parts = [text, _table(["framework", *CELLS], rows), *_notes(results, known), *people, *_layers(results, known)]
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _kept() -> list[str]:
    """The page's own section on models, where no run of them is stored here."""
    _, start, rest = PAGE.read_text(encoding="utf-8").partition(models.START)
    found, end, _ = rest.partition(models.END)
    return [f"{start}{found}{end}"] if end else []


def _read(name: str) -> dict[str, Any]:
    path = OVERLAYS / "results" / f"{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _title(name: str, environment: dict[str, Any]) -> str:
    (version,) = (p.split("==")[1] for p in environment["packages"] if p.split("==")[0] == environment["package"])
    return f"{environment['framework']} {version}"


def _cell(found: dict[str, Any], cell: str) -> str:
    result = found.get(cell)
    if result is None:
        return "not run"
    if "absent" in result:
        return "not in the framework"
    if "refused" in result:
        return "refused"
    excepted = f", {result['excepted']} excepted" if result.get("excepted") else ""
    return f"exact ({result['decisions']:,}{excepted}) · {result['agreement']:.1%}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _notes(results: dict[str, dict[str, Any]], known: dict[str, Any]) -> list[str]:
    """Why cells are not exact."""
    found = [
        f"- {_title(name, known[name])}, {cell}: {kind}: {result[kind]}"
        for name, cells in results.items()
        for cell, result in cells.items()
        for kind, word in (("absent", "not in the framework"), ("refused", "refused"))
        if cell in CELLS and kind in result
    ]
    text = [line.replace(": absent:", ", not in the framework:").replace(": refused:", ", refused:") for line in found]
    return [*text, ""] if text else []


def _layers(results: dict[str, dict[str, Any]], known: dict[str, Any]) -> list[str]:
    """What layers become, and which are refused."""
    parts = ["## Layers", "", "Each compared alone with its nodes; ↻ is recurrence of the step before.", ""]
    for name, found in results.items():
        layers, refused = found.get("layers", {}), found.get("refused", {})
        if not layers:
            continue
        parts += [f"### {_title(name, known[name])}", ""]
        parts.append(_table(["layer", "NIR nodes"], [[layer, f"`{node}`"] for layer, node in sorted(layers.items())]))
        if refused:
            parts += ["Refused by name:", ""]
            parts += [f"- {text}: {hint}" for text, hint in sorted(refused.items())]
            parts.append("")
    return parts


if __name__ == "__main__":
    main()
