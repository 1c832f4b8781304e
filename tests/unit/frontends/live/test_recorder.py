"""A run leaves no trace in the user's module, and writes down what happened."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from snnhw.frontends.live.recorder import Function, LeafCall, Recorder, device_of, leaves, untouched
from tests.unit.frontends.live.stand_in import Cellule, StandIn


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), Cellule("s"))


def test_functions_and_leaves_are_written_down_with_their_module() -> None:
    module = net().eval()
    recorder, x = Recorder((StandIn(),)), torch.rand(2, 3)
    with recorder.watching(module):
        module(x).add_(1)
    names = [(e.path, e.name if isinstance(e, Function) else "leaf") for e in recorder.events]
    assert names == [("0", "linear"), ("1", "batch_norm"), ("2", "dropout"), ("3", "leaf"), ("", "add_")]
    assert isinstance(recorder.events[-1], Function)
    assert recorder.events[-1].written is not None
    count = len(recorder.events)
    module(torch.rand(2, 3))
    assert len(recorder.events) == count
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def test_values_are_copies_of_what_a_leaf_sent() -> None:
    module = Cellule("s")
    recorder, x = Recorder((StandIn(),), values=True), torch.full((2, 3), 2.0)
    with recorder.watching(module):
        out = module(x)
        out += 5
    (event,) = recorder.events
    assert isinstance(event, LeafCall)
    assert event.values["out"].tolist() == [[1.0] * 3] * 2


def test_leaves_are_not_looked_into() -> None:
    outer = Cellule("s")
    outer.add_module("inner", Cellule("s"))
    module = nn.Sequential(outer, Cellule("s"))
    assert [path for path, _, _ in leaves(module, (StandIn(),))] == ["0", "1"]


def test_the_module_is_left_as_it_was() -> None:
    module = net().train()
    module[0].register_forward_hook(lambda *_: None)
    handle = module[1].register_forward_hook(lambda *_: None)
    cell: Any = module[3]
    cell.v, cell.notes = torch.ones(2, 4), []
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    with untouched(module):
        assert not module.training
        assert not torch.is_grad_enabled()
        cell.notes.append(torch.rand(1))
        cell.v.add_(1)
        module[1].running_mean.add_(1)
        module(torch.rand(2, 3))
        cell.extra = 1
    assert all(part.training for part in module.modules())
    assert cell.v.tolist() == torch.ones(2, 4).tolist()
    assert cell.notes == []
    assert not hasattr(cell, "extra")
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.is_grad_enabled()
    handle.remove()
    assert not module[1]._forward_hooks


def test_the_floats_of_a_module() -> None:
    assert device_of(nn.Linear(2, 2).double())[1] == torch.float64
    assert device_of(Cellule())[1] == torch.float32
