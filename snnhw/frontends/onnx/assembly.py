"""From the cells of an ONNX step to a NIR graph: nodes by the equations' coefficients, edges by what they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from snnhw.frontends.forms import Atom, Form
from snnhw.frontends.live.equations import Membrane, silent, spiking
from snnhw.frontends.onnx.step import StepReader, per_neuron, unread
from snnhw.frontends.recognise import Cell, Recognised
from snnhw.network import Array

DT = 1e-4
"""Seconds per step written into NIR; spikes do not depend on it."""


class Assembly:
    """The NIR graph of a step."""

    def __init__(self, reader: StepReader, found: Recognised, shape: tuple[int, ...]) -> None:
        self.reader, self.found = reader, found
        self.nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array(shape[1:])}), **reader.nodes}
        self.edges: list[tuple[Atom, str]] = list(reader.edges)
        self.names = {("input", name): "input" for name in reader.values}
        self.semantics: dict[str, dict[str, Any]] = {}
        self.shown: dict[str, str] = {}
        self.delays: list[tuple[str, str]] = []
        self.uses = Counter(atom for atom, _ in reader.edges)
        for form in (*(c.inputs for c in found.cells.values()), *(c.inputs for c in found.gates.values())):
            self.uses.update(form.atoms)
        self.uses.update(atom for form in found.shown.values() for atom in form.atoms)

    def graph(self) -> tuple[nir.NIRGraph, dict[str, dict[str, Any]]]:
        """The graph, and the fields of Semantics of each node."""
        silent_cells = {name: self._cell(name, cell) for name, cell in self.found.cells.items()}
        for name, gate in self.found.gates.items():
            if self.uses["spike", name]:
                self._gate(name, gate)
        for name, form in self.found.shown.items():
            self._show(name, form, silent_cells)
        edges = [(self._source(atom, post), post) for atom, post in self.edges]
        return nir.NIRGraph(self.nodes, [*edges, *self.delays], type_check=False), self.semantics

    def _cell(self, state: str, cell: Cell) -> str:
        """The node of a neuron or readout, behind what it reads; its name."""
        name = self._named(cell.spike) if cell.spike else self.reader.free(state)
        rest = np.broadcast_to(cell.rest, cell.shape)
        if cell.current_keep is None:  # a current would filter what comes before it
            rest = self._folded(cell.inputs, rest)
        gain, scaled = self._common(cell.inputs)

        def full(value: Array) -> Array:
            return per_neuron(value, cell.shape, cell.where)

        currents = None if cell.current_keep is None else full(cell.current_keep)
        current_gain = None if currents is None else full(gain)
        own = cell.gain * gain if currents is None else cell.gain
        equation = Membrane(full(cell.keep), full(own), full(rest), currents, current_gain)
        before: tuple[nir.NIRNode, ...] = ()
        if cell.spike is not None:
            node, before = spiking(equation, full(cell.threshold), full(cell.v_reset), DT, cell.where)
            self.names["spike", cell.spike] = name
        elif (equation.keep == 1).all() and not equation.rest.any() and currents is None:
            node = nir.I(equation.gain / DT)
        else:
            node = silent(equation, DT, cell.where)
        self._place(name, node, before, scaled, cell)
        return name

    def _place(self, name: str, node: nir.NIRNode, before: tuple[nir.NIRNode, ...], inputs: Form, cell: Cell) -> None:
        self.nodes[name] = node
        self.semantics[name] = dict(cell.semantics)
        first = name
        for place, filtering in enumerate(reversed(before)):
            self.nodes[f"{name}.current{place or ''}"] = filtering
            self.edges.append((("layer", f"{name}.current{place or ''}"), first))
            first = f"{name}.current{place or ''}"
        self._connect(inputs, first, cell.where)

    def _gate(self, key: str, cell: Cell) -> None:
        name = self._named(key)
        self.names["spike", key] = name
        theta = np.broadcast_to(cell.threshold, cell.shape)
        theta = theta - self._folded(cell.inputs, np.zeros(cell.shape))
        self.nodes[name] = nir.Threshold(per_neuron(theta, cell.shape, cell.where))
        self._connect(cell.inputs, name, cell.where)

    def _named(self, comparison: str) -> str:
        """The module that a comparison is in, as torch names it; the comparison's own name where it says none."""
        return self.reader.free(comparison.rsplit(".", 1)[0]) if "." in comparison else comparison

    def _common(self, inputs: Form) -> tuple[Array, Form]:
        """A factor that all inputs share, and the inputs without it."""
        values = [np.broadcast_to(value, inputs.shape) for value in inputs.terms.values()]
        if not values or any((value != values[0]).any() for value in values) or not values[0].all():
            return np.ones(()), inputs
        return values[0], Form({term: np.ones(()) for term in inputs.terms}, inputs.shape)

    def _folded(self, inputs: Form, rest: Array) -> Array:
        """What is left of a constant once a layer that feeds nothing else has taken it as its bias."""
        if not rest.any():
            return rest
        for term, factor in inputs.terms.items():
            if len(term) != 1:
                continue
            (atom,) = term
            node = self.nodes.get(atom[1])
            shared = self.uses[atom] != 1 or not isinstance(node, (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d))
            if atom[0] != "layer" or shared or not np.all(factor):
                continue
            added = per_neuron(rest / np.broadcast_to(factor, rest.shape), rest.shape, atom[1])
            bias = added if added.ndim == 1 else added.reshape(len(added), -1)[:, 0]
            if (added == bias.reshape(-1, *[1] * (added.ndim - 1))).all():
                self.nodes[atom[1]] = _with_bias(node, bias)
                return np.zeros(rest.shape)
        return rest

    def _show(self, output: str, form: Form, cells: Mapping[str, str]) -> None:
        """An Output node behind spikes, a membrane, or a sum of layers."""
        name = "output" if len(self.found.shown) == 1 else self.reader.free(output)
        self.nodes[name] = nir.Output({"output": np.array(form.shape[1:])})
        self.shown[name] = output
        for state, new in self.found.new.items():
            if state in cells and new.equals(form):
                if self.found.cells[state].spike is not None:
                    raise unread(output, "an output that shows the membrane of a neuron that fires")
                self.edges.append((("layer", cells[state]), name))
                return
        rest = self._folded(form, np.broadcast_to(form.constant, form.shape))
        if rest.any():
            raise unread(output, "a constant added at an output")
        self._connect(form - Form({frozenset(): form.constant}, form.shape), name, output)

    def _connect(self, inputs: Form, name: str, where: str) -> None:
        before = len(self.reader.edges)
        self.reader.connect(inputs, name, where)
        self.edges += self.reader.edges[before:]
        self.nodes |= {key: node for key, node in self.reader.nodes.items() if key not in self.nodes}

    def _source(self, atom: Atom, post: str) -> str:
        """The node an edge comes from; spikes of the step before pass a Delay."""
        kind, name = atom
        if kind == "layer":
            return name
        if kind == "prev":
            return self._delayed(name, post)
        if atom not in self.names:
            what = "a layer that reads a membrane" if kind == "state" else "a comparison that is no neuron's"
            raise unread(f"{name} -> {post}", what)
        return self.names[atom]

    def _delayed(self, spike: str, post: str) -> str:
        source = self._source(("spike", spike), post)
        name = f"{source}.delay"
        if name not in self.nodes:
            node: Any = self.nodes[source]
            threshold = node.threshold if isinstance(node, nir.Threshold) else node.v_threshold
            self.nodes[name] = nir.Delay(np.full(np.shape(threshold), DT))
            self.delays.append((source, name))
        return name


def _with_bias(node: Any, bias: Array) -> nir.NIRNode:
    if isinstance(node, nir.Linear):
        return nir.Affine(node.weight, bias)
    if isinstance(node, nir.Affine):
        return nir.Affine(node.weight, node.bias + bias)
    return replace(node, bias=np.asarray(node.bias) + bias)
