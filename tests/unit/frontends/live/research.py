"""Small modules in the forms of research code: conversion (QCFS), tdBN, DIET-SNN, DSR, SpyTorch, audio, heads."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.unit.frontends.live.written import Case, FireGe, FireGt, FireMasked, N, T


class Qcfs(nn.Module):
    """Bu et al. 2022: T and N folded, a trained threshold, half of it at the start, spikes of its size."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.thresh = nn.Parameter(torch.tensor([threshold]))

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(T, int(x.shape[0] / T), *x.shape[1:])
        thre = self.thresh.data
        mem, out = 0.5 * thre, []
        for t in range(T):
            mem = mem + x[t, ...]
            spike = FireGe.apply(mem - thre, 1.0) * thre
            mem = mem - spike
            out.append(spike)
        return torch.stack(out, dim=0).flatten(0, 1).contiguous()


class QcfsNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), Qcfs(0.7), nn.Dropout(0.1))
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Qcfs(0.5), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0).repeat(T, 1, 1, 1, 1).flatten(0, 1)
        out = self.head(self.pool(self.layer1(x)))
        return out.view(T, -1, 3).mean(0)


class Diet(nn.Module):
    """Rathi and Roy 2021: membranes in a dictionary; the old membrane is compared again for the reset."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2))
        self.classifier = nn.Linear(64, 3, bias=False)
        self.threshold = nn.ParameterDict({"t0": nn.Parameter(torch.tensor(0.6))})
        self.leak = nn.ParameterDict({"l0": nn.Parameter(torch.tensor(0.9))})

    def forward(self, x: Tensor) -> Tensor:
        mem = {0: torch.zeros(len(x), 4, 8, 8), "out": torch.zeros(len(x), 3)}
        for _ in range(T):
            out = x
            for at, layer in enumerate(self.features):
                if isinstance(layer, nn.Conv2d):
                    above = mem[at] / self.threshold[f"t{at}"] - 1.0
                    reset = self.threshold[f"t{at}"] * (above > 0).float()
                    mem[at] = self.leak[f"l{at}"] * mem[at] + layer(out) - reset
                elif isinstance(layer, nn.ReLU):
                    out = FireMasked.apply(mem[at - 1] / self.threshold[f"t{at - 1}"] - 1.0).clone()
                else:
                    out = layer(out)
            mem["out"] = mem["out"] + self.classifier(out.reshape(len(x), -1))
        return mem["out"]


class DsrLif(nn.Module):
    """Meng et al. 2022: spikes of the threshold's size."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for i in range(x.shape[0]):
            v = math.exp(-0.05 / 1.5) * v + x[i]
            s = (v >= 0.6).float() * 0.6
            v = v - s
            out.append(s)
        return torch.stack(out)


class DsrNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.n1, self.fc2, self.n2, self.fc3 = (
            nn.Linear(6, 8),
            DsrLif(),
            nn.Linear(8, 8),
            DsrLif(),
            nn.Linear(8, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.n2(self.fc2(self.n1(self.fc1(x)))).mean(0))


class OverTime(nn.Module):
    """A layer of tdBN's own code: [N, ..., T], one step after the other."""

    def __init__(self, layer: nn.Module, bn: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.bn = layer, bn

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros((*self.layer(x[..., 0]).shape, x.shape[-1]))
        for step in range(x.shape[-1]):
            out[..., step] = self.layer(x[..., step])
        return out if self.bn is None else self.bn(out)


class LastAxisLif(nn.Module):
    """tdBN's LIFSpike: the spikes of the step before are read from the tensor that is being filled."""

    def forward(self, x: Tensor) -> Tensor:
        u, out = torch.zeros(x.shape[:-1]), torch.zeros(x.shape)
        for step in range(x.shape[-1]):
            u, out[..., step] = self.update(u, out[..., max(step - 1, 0)], x[..., step])
        return out

    def update(self, u: Tensor, o: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        u = 0.25 * u * (1 - o) + x
        return u, FireGt.apply(u - 0.5)


class TdBnNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif1 = OverTime(nn.Conv2d(2, 4, 3, 1, 1), nn.BatchNorm3d(4)), LastAxisLif()
        self.pool, self.fc, self.lif2 = OverTime(nn.AvgPool2d(2)), OverTime(nn.Linear(64, 3)), LastAxisLif()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.lif1(self.conv(x)))
        x = self.lif2(self.fc(x.view(x.shape[0], -1, x.shape[-1])))
        return torch.sum(x, dim=2) / x.shape[-1]


class Einsum(nn.Module):
    """SpyTorch's products: 'abc,cd->abd' over the whole input."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 8) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.einsum("abc,cd->abd", (x, self.w))
        mem, out = torch.zeros((x.shape[0], 8)), []
        for t in range(x.shape[1]):
            mem = 0.8 * mem + h[:, t]
            spike = FireMasked.apply(mem - 1.0)
            mem = mem - spike.detach()
            out.append(spike)
        return torch.stack(out, dim=1)


class Lif(nn.Module):
    """snnTorch's convention in plain torch: (current, membrane) to (spike, membrane behind its reset)."""

    def __init__(self, beta: float = 0.9, threshold: float = 1.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor, mem: Any) -> tuple[Tensor, Tensor]:
        mem = self.beta * mem + x
        spike = FireGt.apply(mem - self.threshold)
        return spike, mem - self.threshold * spike.detach()


class Audio(nn.Module):
    """Conv1d and BatchNorm1d, a residual, spikes and membranes returned side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1, self.l1 = nn.Conv1d(4, 8, 5, stride=2, padding=2), nn.BatchNorm1d(8), Lif()
        self.c2, self.b2, self.l2 = nn.Conv1d(8, 8, 3, padding=1, groups=8), nn.BatchNorm1d(8), Lif(0.8, 0.7)
        self.gap, self.fc, self.l3 = nn.AdaptiveAvgPool1d(1), nn.Linear(8, 4), Lif(0.95, 0.3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        m1 = m2 = m3 = 0.0
        spikes, membranes = [], []
        for t in range(x.size(0)):
            s1, m1 = self.l1(self.b1(self.c1(x[t])), m1)  # type: ignore[assignment]
            s2, m2 = self.l2(self.b2(self.c2(s1)) + s1, m2)  # type: ignore[assignment]
            s3, m3 = self.l3(self.fc(self.gap(s2).squeeze(-1)), m3)  # type: ignore[assignment]
            spikes.append(s3)
            membranes.append(m3)
        return torch.stack(spikes), torch.stack(membranes)


class Heads(nn.Module):
    """Two heads on the rate of the features, in a dictionary or joined; membranes start as one zero."""

    def __init__(self, join: bool) -> None:
        super().__init__()
        self.join, self.f, self.lif = join, nn.Linear(6, 12), Lif(0.9, 0.5)
        self.cls, self.box = nn.Linear(12, 3), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Any:
        mem, count = torch.zeros(1), torch.zeros(x.shape[1], 12)
        for now in x:
            spike, mem = self.lif(self.f(now), mem)
            count = count + spike
        features = count / x.shape[0]
        found = {"cls": self.cls(features), "box": self.box(features)}
        return torch.cat([found["cls"], found["box"]], dim=-1) if self.join else found


class Autoencoder(nn.Module):
    """Transposed convolutions; a sigmoid behind the mean that a loop adds up."""

    def __init__(self) -> None:
        super().__init__()
        self.e, self.d = nn.Conv2d(2, 4, 3, 2, 1), nn.ConvTranspose2d(4, 2, 4, 2, 1)
        self.lif = Lif(0.8, 0.4)

    def forward(self, x: Tensor) -> Tensor:
        mem: Any = 0.0
        total: Any = 0.0
        for _ in range(T):
            spike, mem = self.lif(self.e(x), mem)
            total = total + self.d(F.relu(spike))
        return torch.sigmoid(total / T)


class Preallocated(nn.Module):
    """out[t, :, :] = ..., and spikes stacked behind the features."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 8), Lif(0.8, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(x.shape[0], x.shape[1], 8)
        mem: Any = 0.0
        for t in range(x.shape[0]):
            out[t, :, :], mem = self.lif(self.fc(x[t]), mem)
        return torch.stack([out[t] for t in range(x.shape[0])], dim=2).permute(0, 2, 1)


MODULES: dict[str, Case] = {
    "QCFS": Case(QcfsNet, (N, 2, 8, 8)),
    "DIET-SNN": Case(Diet, (N, 2, 8, 8)),
    "DSR": Case(DsrNet, (T, N, 6)),
    "tdBN, time last": Case(TdBnNet, (N, 2, 8, 8, T)),
    "einsum": Case(Einsum, (N, T, 6)),
    "audio, spikes and membranes": Case(Audio, (T, N, 4, 20)),
    "two heads": Case(lambda: Heads(False), (T, N, 6)),
    "two heads, joined": Case(lambda: Heads(True), (T, N, 6)),
    "autoencoder, sigmoid": Case(Autoencoder, (N, 2, 8, 8)),
    "stored by steps, stacked last": Case(Preallocated, (T, N, 6)),
}
