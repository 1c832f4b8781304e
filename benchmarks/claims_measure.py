"""What docs/claims.md measures without training: bounds, gradients at the start, firing rates, block isometry."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnhw.zoo.checkpoint import load_model
from snnhw.zoo.containers import PerStep
from snnhw.zoo.datasets import Split
from snnhw.zoo.diagnose import diagnose
from snnhw.zoo.encode import encode, scale
from snnhw.zoo.neurons import IterativeLIF
from snnhw.zoo.residual import neuron_maker
from snnhw.zoo.sew import SewBlock, SewResNet
from snnhw.zoo.spiking_resnet import PlainNet, SpikingBlock, SpikingResNet
from snnhw.zoo.surrogate import Atan
from snnhw.zoo.tdbn import ThresholdDependentBatchNorm2d

Rows = list[dict[str, Any]]
CONNECTS = ("ADD", "IAND", "AND")


def everything(folder: Path, data: Split) -> dict[str, Any]:
    """All measurements; those of trained networks from the checkpoints in ``folder``."""
    return {
        "identity": identity_chains(),
        "start": start_gradients(data),
        "bounds": bounds(folder, data),
        "rates": rates(folder, data),
        "isometry": isometry(data),
    }


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The residual blocks in order."""
    return [block for stage in model.stages for block in stage]  # type: ignore[union-attr]


def noted(model: nn.Module) -> list[Tensor]:
    """A list that every later run of the model fills with its blocks' outputs."""
    outputs: list[Tensor] = []
    for block in blocks_of(model):
        block.register_forward_hook(lambda _m, _i, out: outputs.append(out))
    return outputs


def identity_chains(depth: int = 50) -> dict[str, list[float]]:
    """Gradient norm at the input of k blocks over that at their output, k = 1..depth, every block an identity.

    T = 1, random spikes of rate 1/2, a random gradient at the output. Spiking ResNet's is taken apart: at places that
    spike its factor is the surrogate at the threshold, at silent ones the surrogate one threshold below.
    """
    torch.manual_seed(0)
    s = (torch.rand(1, 8, 8, 8, 8) < 0.5).float()
    chains: dict[str, list[nn.Module]] = {
        f"SEW {g}": [SewBlock(8, 8, 1, neuron_maker("if"), g, zero_init=True) for _ in range(depth)] for g in CONNECTS
    }
    for alpha in (2.0, 3.0):
        make = neuron_maker("if", Atan(alpha))
        chains[f"Spiking ResNet, ATan {alpha:g}"] = [SpikingBlock(8, 8, 1, make, zero_init=True) for _ in range(depth)]
    found = {}
    for name, chain in chains.items():
        values = [s.clone().requires_grad_()]
        for block in chain:
            values.append(block.train()(values[-1]))
        assert torch.equal(values[-1], s), "an identity hands on its input"
        end = torch.randn(s.shape, generator=torch.Generator().manual_seed(1))
        grads = [*torch.autograd.grad(values[-1], values[:-1], end), end]
        places = {"": torch.ones_like(s)} if name.startswith("SEW") else {", spiking": s, ", silent": 1 - s}
        for where, mask in places.items():
            norms = [float((g * mask).norm()) for g in grads]
            found[name + where] = [norms[depth - k] / norms[depth] for k in range(1, depth + 1)]
    return found


def start_gradients(data: Split, depth: int = 20, seeds: int = 3) -> dict[str, list[float]]:
    """Norm of the loss's gradient at every block's output over that at the last, untrained networks, T = 4."""
    shape: dict[str, Any] = {"image_size": 8, "channels": [8, 16], "blocks": [depth // 2] * 2}
    found: dict[str, list[float]] = {}
    x, y = _probe(data)
    for name, make in {
        **{f"SEW {g}": (lambda g=g: SewResNet(connect=g, **shape)) for g in CONNECTS},
        "SEW ADD from identity": lambda: SewResNet(connect="ADD", zero_init=True, **shape),
        "Spiking ResNet": lambda: SpikingResNet(**shape),
        "Spiking ResNet from identity": lambda: SpikingResNet(zero_init=True, **shape),
        "PlainNet": lambda: PlainNet(**shape),
    }.items():
        runs = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = make().train()
            outputs = noted(model)
            loss = nn.functional.cross_entropy(model(x).mean(0), y)
            norms = [float(g.norm()) for g in torch.autograd.grad(loss, outputs)]
            runs.append([n / norms[-1] if norms[-1] > 0 else 0.0 for n in norms])
        found[name] = [sum(values) / seeds for values in zip(*runs, strict=True)]
    return found


def bounds(folder: Path, data: Split) -> Rows:
    """Largest output of a block after k blocks behind a binary source, trained and with every branch forced to fire."""
    rows = []
    x, _ = _probe(data, 360)
    for g in CONNECTS:
        for path in sorted(folder.glob(f"SEW_{g}-*-0.pt")):
            model, content = load_model(path)
            row = {"net": f"SEW {g}", "blocks": content["network"]["config"]["blocks"]}
            row["trained"] = _largest(model, x)
            for block in blocks_of(model):
                nn.init.constant_(block.conv2.bn.weight, 0.0)  # type: ignore[union-attr, arg-type]
                nn.init.constant_(block.conv2.bn.bias, 1.0)  # type: ignore[union-attr, arg-type]
            row["forced"] = _largest(model, x)
            rows.append(row)
    return rows


@torch.no_grad()
def _largest(model: nn.Module, x: Tensor) -> list[float]:
    """Maximum of every stage's blocks; a stage starts at a binary source (its first block has a shortcut neuron)."""
    found: list[float] = []
    hooks = [
        stage.register_forward_hook(lambda _m, _i, out: found.append(float(out.max())))
        for stage in model.stages  # type: ignore[union-attr]
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return found


def rates(folder: Path, data: Split) -> Rows:
    """Trained networks of 20 blocks, by third of the depth: rates and dead share of the blocks' last neurons, share of
    non-zero block outputs; and how much gradient of the last spiking layer is left at the first."""
    nets = (*(f"SEW {g}" for g in CONNECTS), "SEW AND from identity", "Spiking ResNet", "PlainNet")
    rows = []
    x, y = _probe(data)
    for path in (p for net in nets if (p := folder / f"{net.replace(' ', '_')}-20-0.pt").is_file()):
        model, _ = load_model(path)
        outputs = noted(model)
        health = diagnose(model, x, lambda out: nn.functional.cross_entropy(out.mean(0), y))
        branch = [layer.rate for layer in health.layers if layer.layer.endswith(".if2")]
        dead = [layer.dead for layer in health.layers if layer.layer.endswith(".if2")]
        name = path.name.removesuffix("-20-0.pt").replace("_", " ")
        rows.append(
            {
                "net": name,
                "branch": _thirds(branch),
                "output": _thirds([_share(out) for out in outputs]),
                "dead": _thirds(dead),
                "reach": health.reach,
            }
        )
    return rows


def _share(out: Tensor) -> float:
    return float((out.detach() != 0).double().mean())


def isometry(data: Split, depth: int = 10, channels: int = 16) -> Rows:
    """Layers conv-tdBN-LIF in a row, untrained: firing rate and phi(J J^T) = E|J^T v|^2 / |v|^2 by depth.

    ``alpha`` is sigma / Vth of the membrane's input: 1 is tdBN, 1/4 and 4 the paper's examples of too small and large.
    """
    rows = []
    x, _ = _probe(data)
    for alpha in (0.25, 1.0, 4.0):
        torch.manual_seed(0)
        width, layers = 1, []
        for _ in range(depth):
            conv = nn.Conv2d(width, channels, 3, padding=1, bias=False)
            bn = ThresholdDependentBatchNorm2d(channels, 0.5, alpha)
            layers.append(nn.Sequential(PerStep(OrderedDict(conv=conv, bn=bn)), IterativeLIF(decay=0.25)))
            width = channels
        values = [x]
        for layer in layers:
            values.append(layer.train()(values[-1]).detach())
        phi = []
        for before, layer in zip(values[1:-1], layers[1:], strict=True):
            start = before.clone().requires_grad_()
            v = torch.randn(values[-1].shape)
            phi.append(float(torch.autograd.grad(layer(start), start, v)[0].square().sum() / v.square().sum()))
        rows.append({"alpha": alpha, "rate": [float(v.mean()) for v in values[1:]], "phi": phi})
    return rows


def _thirds(values: list[float]) -> list[float]:
    """Means of the first, middle and last third."""
    n = len(values)
    parts = [values[i * n // 3 : (i + 1) * n // 3] for i in range(3)]
    return [sum(part) / max(1, len(part)) for part in parts]


def _probe(data: Split, samples: int = 100) -> tuple[Tensor, Tensor]:
    x = encode(scale(data.x_test[:samples]), "direct", 4, torch.Generator())
    return x, data.y_test[:samples]
