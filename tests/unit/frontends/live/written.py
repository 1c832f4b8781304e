"""Small modules as people write them, in plain torch: neurons of their own, time loops, readouts.

`MODULES` has each by name with the example input that it takes and T where nothing shows it; `python -m
tests.unit.frontends.live.written` says which are taken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

import snnhw
from snnhw.errors import SnnhwError
from snnhw.frontends.live_module import load_module

N, T = 3, 5


class FireGt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.gt(0).float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 0.5).float()


class FireGe(torch.autograd.Function):
    """TET's ZIF."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gama: float) -> Tensor:
        out = (x >= 0).float()
        ctx.save_for_backward(x, out, torch.tensor([gama]))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None


class FireMasked(torch.autograd.Function):
    """snnTorch's older tutorials, Zenke's SuperSpike."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        out[x > 0] = 1.0
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class TetLif(nn.Module):
    """Deng et al. 2022: (N, T, ...), hard reset."""

    def __init__(self, thresh: float = 1.0, tau: float = 0.5) -> None:
        super().__init__()
        self.thresh, self.tau = thresh, tau

    def forward(self, x: Tensor) -> Tensor:
        mem = 0
        spikes = []
        for t in range(x.shape[1]):
            mem = mem * self.tau + x[:, t, ...]
            spike = FireGe.apply(mem - self.thresh, 1.0)
            mem = (1 - spike) * mem
            spikes.append(spike)
        return torch.stack(spikes, dim=1)


class TimeFirstLif(nn.Module):
    """(T, N, ...), zeros_like, `>`; the membrane decays behind the reset."""

    def forward(self, x: Tensor) -> Tensor:
        mem = torch.zeros_like(x[0])
        out = []
        for step in range(x.size(0)):
            mem = mem + x[step]
            spike = (mem > 1.0).float()
            mem = mem * (1.0 - spike) * 0.75
            out.append(spike)
        return torch.stack(out)


class SoftLif(nn.Module):
    """Soft reset, threshold and decay as tensors that are trained."""

    def __init__(self, features: int = 8) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.ones(features) * 0.8)
        self.decay = nn.Parameter(torch.full((features,), 0.4))

    def forward(self, x: Tensor) -> Tensor:
        mem = torch.zeros(x.shape[1:], device=x.device)
        out = torch.zeros_like(x)
        beta = torch.sigmoid(self.decay)
        for t in range(x.shape[0]):
            mem = beta * mem + x[t]
            spk = FireGt.apply(mem - self.threshold)
            mem = mem - spk * self.threshold
            out[t] = spk
        return out


class Lazy(nn.Module):
    """STBP: mem = mem * decay * (1 - spike) + x, spike = act(mem)."""

    def forward(self, x: Tensor) -> Tensor:
        mem = spike = torch.zeros_like(x[0])
        out = []
        for now in x:
            mem = mem * 0.25 * (1.0 - spike) + now
            spike = mem.gt(0.5).float()
            out += [spike]
        return torch.stack(out, 0)


class TauLif(nn.Module):
    """v = v + (x - v) / tau; heaviside; where."""

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0])
        spikes = []
        for t in range(len(x)):
            v = v + (x[t] - v) / 2.0
            s = torch.heaviside(v - 0.3, torch.tensor(1.0))
            v = torch.where(s.bool(), torch.zeros_like(v), v)
            spikes.append(s)
        return torch.stack(spikes)


class IntegrateAndFire(nn.Module):
    """No leak, in-place arithmetic, masked reset."""

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0])
        spikes = []
        for t in range(len(x)):
            v += x[t]
            s = (v >= 0.6).to(x.dtype)
            v[s > 0] = 0.0
            spikes.append(s)
        return torch.stack(spikes)


class InPlace(nn.Module):
    """mul_, add_, masked_fill_."""

    def forward(self, x: Tensor) -> Tensor:
        v = x.new_zeros(x.shape[1:])
        spikes = []
        for now in x.unbind(0):
            v.mul_(0.5).add_(now)
            s = torch.ge(v, 0.4)
            v.masked_fill_(s, 0.0)
            spikes.append(s.float())
        return torch.stack(spikes, dim=0)


class TwoStates(nn.Module):
    """A current and a membrane, soft reset by the spike of the step before."""

    def forward(self, x: Tensor) -> Tensor:
        syn = mem = torch.zeros_like(x[0])
        out = []
        for t in range(x.shape[0]):
            spk = (mem > 0.5).float()
            out.append(spk)
            syn = 0.5 * syn + x[t]
            mem = 0.8 * mem + syn - 0.5 * spk
        return torch.stack(out)


class Zenke(nn.Module):
    """SpyTorch: new_mem = (beta mem + syn) (1 - rst), the spike of the state before."""

    def forward(self, x: Tensor) -> Tensor:
        syn = torch.zeros(x.shape[1], x.shape[2])
        mem = torch.zeros(x.shape[1], x.shape[2])
        record = []
        for t in range(x.shape[0]):
            mthr = mem - 1.0
            out = FireMasked.apply(mthr)
            rst = out.detach()
            new_syn = 0.6 * syn + x[t]
            new_mem = (0.8 * mem + 0.2 * syn) * (1.0 - rst)
            record.append(out)
            mem, syn = new_mem, new_syn
        return torch.stack(record, dim=0)


class Kept(nn.Module):
    """One step a call; the membrane stays in the module."""

    def __init__(self, decay: float = 0.5) -> None:
        super().__init__()
        self.decay = decay
        self.mem: Any = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mem is None:
            self.mem = torch.zeros_like(x)
        self.mem = self.decay * self.mem + x
        spike = (self.mem >= 0.4).float()
        self.mem = self.mem * (1 - spike.detach())
        return spike


class KeptZero(nn.Module):
    """The membrane starts as the number 0, reset() sets it back."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.mem: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.mem = self.mem + x
        spike = FireGt.apply(self.mem - 0.5)
        self.mem = self.mem - spike * 0.5
        return spike


class Straight(nn.Module):
    """A straight-through estimator: the soft half cancels out."""

    def forward(self, x: Tensor) -> Tensor:
        mem, out = 0.0, []
        for t in range(x.shape[0]):
            mem = 0.5 * mem + x[t]
            soft = torch.sigmoid(4 * (mem - 0.4))
            hard = (mem > 0.4).float()
            spike = (hard - soft).detach() + soft
            mem = mem * (1 - hard)
            out.append(spike)
        return torch.stack(out)


class Lerp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for now in x:
            v = torch.lerp(v, now, 0.5)
            s = v.ge(0.25).type_as(v)
            v = v.masked_fill(s.bool(), 0)
            out.append(s)
        return torch.stack(out)


class Floored(nn.Module):
    """A membrane that goes no lower than a number."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for now in x:
            v = 0.75 * v + now
            s = (v > 0.5).float()
            v = torch.clamp(v - 0.5 * s, min=-0.2)
            out.append(s)
        return torch.stack(out)


class Refractory(nn.Module):
    """v_reset that is not zero, and a start value that is a parameter."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for now in x:
            v = 0.5 * v + now
            s = (v > 0.5).float()
            v = v * (1 - s) + s * -0.25
            out.append(s)
        return torch.stack(out)


def mem_update(ops: nn.Module, x: Tensor, mem: Tensor, spike: Tensor) -> tuple[Tensor, Tensor]:
    mem = mem * 0.2 * (1.0 - spike) + ops(x)
    return mem, FireGt.apply(mem - 0.5)


class Stbp(nn.Module):
    """Wu et al. 2018 as published: neurons by a function, the image shown at every step, counts at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(4 * 2 * 2, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor, time_window: int = T) -> Tensor:
        n = x.shape[0]
        c1_mem = c1_spike = torch.zeros(n, 4, 8, 8)
        c2_mem = c2_spike = torch.zeros(n, 4, 4, 4)
        h1_mem = h1_spike = h1_sum = torch.zeros(n, 12)
        h2_mem = h2_spike = h2_sum = torch.zeros(n, 4)
        for _ in range(time_window):
            c1_mem, c1_spike = mem_update(self.conv1, x, c1_mem, c1_spike)
            y = F.avg_pool2d(c1_spike, 2)
            c2_mem, c2_spike = mem_update(self.conv2, y, c2_mem, c2_spike)
            y = F.avg_pool2d(c2_spike, 2).view(n, -1)
            h1_mem, h1_spike = mem_update(self.fc1, y, h1_mem, h1_spike)
            h1_sum = h1_sum + h1_spike
            h2_mem, h2_spike = mem_update(self.fc2, h1_spike, h2_mem, h2_spike)
            h2_sum += h2_spike
        return h2_sum / time_window


class Recurrent(nn.Module):
    """Hidden spikes feed back; a readout without reset, its membrane at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v, self.out = nn.Linear(6, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        mem = spk = torch.zeros(x.shape[1], 8)
        u = torch.zeros(x.shape[1], 3)
        shown = []
        for t in range(x.shape[0]):
            mem = 0.7 * mem + self.w(x[t]) + self.v(spk) - spk * 0.5
            spk = (mem > 0.5).float()
            u = 0.9 * u + self.out(spk)
            shown.append(u)
        return torch.stack(shown)


class Static(nn.Module):
    """(N, ...) shown for num_steps; counts."""

    def __init__(self, steps: int = T) -> None:
        super().__init__()
        self.steps = steps
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        mem1 = torch.zeros(x.size(0), 8)
        mem2 = torch.zeros(x.size(0), 3)
        count = torch.zeros(x.size(0), 3)
        for _ in range(self.steps):
            mem1 = 0.5 * mem1 + self.fc1(x)
            s1 = (mem1 > 0.4).float()
            mem1 = mem1 - s1 * 0.4
            mem2 = 0.5 * mem2 + self.fc2(s1)
            s2 = (mem2 > 0.2).float()
            mem2 = mem2 - s2 * 0.2
            count = count + s2
        return count / self.steps


class Counting(nn.Module):
    """(N, ...) shown for num_steps; counts from a number, as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        v = counts = 0.0
        for _ in range(T):
            v = 0.5 * v + self.fc(x)
            s = (v > 0.4).float()
            v = v - s * 0.4
            counts = counts + s
        return counts


class StaticOnce(Static):
    """The first layer runs once, in front of the loop; the output is added up without a neuron."""

    def forward(self, x: Tensor) -> Tensor:
        current = self.fc1(x)
        mem, out = 0, 0
        for _ in range(self.steps):
            mem = 0.5 * mem + current
            s = torch.gt(mem, 0.4).float()
            mem = mem * (1 - s)
            out = out + self.fc2(s)
        return out / self.steps


class Layers(nn.Module):
    """A list of layers and a list of membranes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)])

    def forward(self, x: Tensor) -> Tensor:
        mems: list[Any] = [0.0 for _ in self.layers]
        out = []
        for t in range(x.shape[0]):
            s = x[t]
            for i, layer in enumerate(self.layers):
                mems[i] = 0.6 * mems[i] + layer(s)
                s = (mems[i] > 0.3).float()
                mems[i] = mems[i] * (1 - s)
            out.append(s)
        return torch.stack(out)


class Residual(nn.Module):
    """SEW: spikes are added to those of the block before."""

    def __init__(self, neuron: Callable[[], nn.Module] = TimeFirstLif) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.n1, self.n2, self.n3 = neuron(), neuron(), neuron()

    def forward(self, x: Tensor) -> Tensor:
        s = self.n1(self.a(x))
        s = s + self.n2(self.b(s))
        return self.n3(self.c(s)).mean(0)


class And(Residual):
    def forward(self, x: Tensor) -> Tensor:
        s = self.n1(self.a(x))
        return self.n3(self.c(s * self.n2(self.b(s)))).mean(0)


class Iand(Residual):
    def forward(self, x: Tensor) -> Tensor:
        s = self.n1(self.a(x))
        return self.n3(self.c((1.0 - self.n2(self.b(s))) * s)).mean(0)


class SeqToAnn(nn.Module):
    """tdBN's and TET's container: layers without time on (N * T, ...)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.module = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = self.module(x.flatten(0, 1).contiguous())
        return y.view(x.shape[0], x.shape[1], *y.shape[1:])


class TdBatchNorm(nn.BatchNorm2d):
    """tdBN: scaled by alpha times the threshold."""

    def __init__(self, channels: int, alpha: float = 1.0, vth: float = 0.5) -> None:
        super().__init__(channels)
        self.alpha, self.vth = alpha, vth

    def forward(self, x: Tensor) -> Tensor:
        y = F.batch_norm(x, self.running_mean, self.running_var, None, None, False, 0.0, self.eps)
        y = self.alpha * self.vth * y
        return y * self.weight[None, :, None, None] + self.bias[None, :, None, None]


class TetNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            SeqToAnn(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)), TetLif(),
            SeqToAnn(nn.AvgPool2d(2)), SeqToAnn(nn.Conv2d(4, 6, 3, padding=1), TdBatchNorm(6)), TetLif(),
        )  # fmt: skip
        self.classifier = SeqToAnn(nn.Flatten(), nn.Dropout(0.25), nn.Linear(6 * 16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class TetStatic(TetNet):
    """add_dimention: the image is repeated over T in front."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1).repeat(1, T, 1, 1, 1)
        return super().forward(x).mean(1)


class StepNet(nn.Module):
    """One step a call, conv and views."""

    def __init__(self, kept: Callable[[], nn.Module] = Kept) -> None:
        super().__init__()
        self.conv, self.n1 = nn.Conv2d(2, 4, 3, padding=1), kept()
        self.fc, self.n2 = nn.Linear(4 * 16, 5), kept()

    def forward(self, x: Tensor) -> Tensor:
        x = self.n1(F.avg_pool2d(self.conv(x), 2))
        return self.n2(self.fc(x.reshape(x.shape[0], -1)))


class LoopOverKept(StepNet):
    """The loop over time around neurons that keep their membrane."""

    def forward(self, x: Tensor) -> Tensor:
        for part in (self.n1, self.n2):
            part.mem = None
        return torch.stack([super(LoopOverKept, self).forward(x[t]) for t in range(x.shape[0])])


class Arguments(nn.Module):
    """States are arguments and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor, mem1: Any = None, mem2: Any = None) -> Any:
        if mem1 is None:
            mem1, mem2 = torch.zeros(x.shape[0], 8), torch.zeros(x.shape[0], 3)
        mem1 = 0.5 * mem1 + self.fc1(x)
        s1 = (mem1 > 0.4).float()
        mem1 = mem1 * (1 - s1)
        mem2 = 0.5 * mem2 + self.fc2(s1)
        s2 = (mem2 > 0.4).float()
        return s2, mem1, mem2 - 0.4 * s2


class NumSteps(Static):
    """forward(x, num_steps)."""

    def forward(self, x: Tensor, num_steps: int) -> Tensor:  # type: ignore[override]
        self.steps = num_steps
        return super().forward(x)


class Everyday(nn.Module):
    """Layers of every day on one step: a stack of them, then a neuron, all over (T, N, ...) in a loop."""

    def __init__(self, *layers: nn.Module, dims: int = 1) -> None:
        super().__init__()
        self.body, self.neuron, self.head = nn.Sequential(*layers), Kept(), nn.LazyLinear(3)
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        self.neuron.mem = None
        out: Any = 0
        for t in range(x.size(0)):
            s = self.neuron(self.body(x[t]))
            out = out + self.head(s.view(s.size(0), -1))
        return out


class Joined(nn.Module):
    """U-Net: upsampled and joined with a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up, self.end = nn.Conv2d(2, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(6, 3, 1)
        self.n1, self.n2 = TimeFirstLif(), TimeFirstLif()

    def forward(self, x: Tensor) -> Tensor:
        t, n = x.shape[:2]
        s = self.n1(self.down(x.flatten(0, 1)).view(t, n, 4, 4, 4))
        u = F.interpolate(s.flatten(0, 1), scale_factor=2, mode="nearest")
        u = torch.cat([self.up(u), x.flatten(0, 1)], dim=1)
        s = self.n2(self.end(u).reshape(t, n, 3, 8, 8))
        return s.mean((3, 4)).mean(0)


class Halves(nn.Module):
    """Channels are split, treated apart and joined the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.n, self.head = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), TimeFirstLif(), nn.Linear(144, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(0, 1)
        one, other = y.chunk(2, dim=1)
        y = torch.cat([self.b(other), self.a(one)[:, :, :, :]], dim=1)[:, [0, 2, 1, 3]]
        s = self.n(y.view(*x.shape[:2], *y.shape[1:]))
        return self.head(s.flatten(2)).mean(0)


class SideLine(nn.Module):
    """What it looks at beside the output."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.n = nn.Linear(6, 4), TetLif()
        self.seen: Any = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        self.seen = y.abs().max(dim=0).values.exp()
        return self.n(y).sum(1)


class Encoded(nn.Module):
    """Rate coding inside forward."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.n = nn.Linear(6, 4), TimeFirstLif()

    def forward(self, x: Tensor) -> Tensor:
        spikes = torch.stack([(torch.rand_like(x) < x).float() for _ in range(T)])
        return self.n(self.fc(spikes)).sum(0)


class Product(nn.Module):
    """Attention: a product of what is no spike."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.n = nn.Linear(6, 8), nn.Linear(6, 8), TimeFirstLif()

    def forward(self, x: Tensor) -> Tensor:
        return self.n(self.q(x) * self.k(x)).sum(0)


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return (x > 0.5).float()


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        mem, out = torch.zeros(x.shape[1], 4), []
        for now in x:
            mem = 0.5 * mem + self.fc(now)
            s = scripted(mem)
            mem = mem * (1 - s)
            out.append(s)
        return torch.stack(out)


# A second batch: forms that the first did not have.


class MemorySpike(nn.Module):
    """tdBN / STBP-simple: time is looped outside, states in a list, the threshold is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Linear(64, 3)
        self.vth, self.tau = 0.4, 0.25

    def neuron(self, x: Tensor, mem: Tensor, spike: Tensor) -> tuple[Tensor, Tensor]:
        mem = self.tau * mem * (1 - spike) + x
        return mem, torch.gt(mem, self.vth).float()

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[0]
        y = self.bn(self.conv(x.reshape(-1, *x.shape[2:]))).reshape(steps, -1, 4, 8, 8)
        mem, spike = torch.zeros_like(y[0]), torch.zeros_like(y[0])
        out = []
        for t in range(steps):
            mem, spike = self.neuron(y[t], mem, spike)
            out.append(self.fc(F.avg_pool2d(spike, 2).flatten(1)))
        return sum(out) / steps  # type: ignore[return-value]


class Dspike(nn.Module):
    """A class with an inner spike function given at construction, buffers as states."""

    def __init__(self, fire: Callable[[Tensor], Tensor] = FireGt.apply) -> None:
        super().__init__()
        self.fire = fire
        self.register_buffer("v", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.v = torch.zeros_like(x[:, 0])
        spikes = []
        for t in range(x.size(1)):
            self.v = self.v * 0.5 + x[:, t]
            spike = self.fire(self.v - 0.6)
            self.v = self.v * (1 - spike)
            spikes.append(spike.unsqueeze(1))
        return torch.cat(spikes, dim=1)


class TimeLast(nn.Module):
    """[N, ..., T], as STBP's own code has it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        mem = torch.zeros(x.shape[0], 8)
        spikes = torch.zeros(x.shape[0], 8, x.shape[-1])
        for t in range(x.shape[-1]):
            mem = 0.5 * mem + self.fc(x[..., t])
            s = (mem > 0.5).float()
            mem = mem * (1 - s)
            spikes[..., t] = s
        return spikes.mean(-1)


class Dictionary(nn.Module):
    """States in a dictionary, a helper method per step."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)

    def step(self, name: str, x: Tensor, state: dict[str, Tensor]) -> Tensor:
        u = state.get(name)
        u = x if u is None else 0.7 * u + x
        s = (u - 0.5 >= 0).to(torch.float32)
        state[name] = u - 0.5 * s
        return s

    def forward(self, x: Tensor) -> Tensor:
        state: dict[str, Tensor] = {}
        total = 0
        for t in range(x.shape[0]):
            total += self.step("b", self.fc2(self.step("a", self.fc1(x[t]), state)), state)
        return total  # type: ignore[return-value]


class Cell(nn.Module):
    """A cell with (spike, membrane) as its state, unrolled by the network."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(inputs, outputs) * 0.3)
        self.b = nn.Parameter(torch.zeros(outputs) + 0.05)
        self.tau = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor, state: Any = None) -> Any:
        if state is None:
            state = (torch.zeros(x.shape[0], self.w.shape[1]),) * 2
        spike, mem = state
        alpha = torch.exp(-1 / self.tau)
        mem = alpha * mem * (1 - spike) + x @ self.w + self.b
        spike = FireGt.apply(mem - 0.6)
        return spike, (spike, mem)


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Cell(6, 8), Cell(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = b = None
        out = []
        for now in torch.unbind(x, dim=0):
            s, a = self.one(now, a)
            s, b = self.two(s, b)
            out.append(s)
        return torch.stack(out, dim=0)


class Alpha(nn.Module):
    """i and v in the order v first, exponential decays of time constants, relative to the rest."""

    def forward(self, x: Tensor) -> Tensor:
        i = v = torch.zeros_like(x[0])
        out = []
        for now in x:
            v = v + 0.1 * (0.0 - v) + 0.5 * i
            i = i - 0.2 * i + now
            z = torch.heaviside(v - 0.5, torch.zeros(()))
            v = (1 - z) * v + z * 0.0
            out.append(z)
        return torch.stack(out)


class Memoryless(nn.Module):
    """Binary activations, no state: a binarised network over T frames."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(FireGt.apply(self.a(x) - 0.1)).mean(0)


class Preallocated(nn.Module):
    """The output and all membranes live in preallocated tensors of (T, N, ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        t_max, n = x.shape[:2]
        out = torch.zeros(t_max, n, 8, device=x.device)
        u = torch.zeros(n, 8)
        o = torch.zeros(n, 8)
        current = self.fc(x.view(t_max * n, -1)).view(t_max, n, 8)
        for t in range(t_max):
            u = 0.5 * u * (1.0 - o) + current[t]
            o = torch.where(u > 0.5, torch.ones_like(u), torch.zeros_like(u))
            out[t] = o
        return out


class Numpyish(nn.Module):
    """Thresholds per neuron from a buffer, addcmul, sub_, logical masks."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.register_buffer("theta", torch.linspace(0.3, 0.9, 8))

    def forward(self, x: Tensor) -> Tensor:
        u = torch.zeros(x.shape[1], 8)
        out = []
        for now in x:
            u = torch.add(self.fc(now), u, alpha=0.6)
            fired = u.ge(self.theta)
            u = u.sub(self.theta * fired.float())
            out.append(fired.type(torch.float32))
        return torch.stack(out)


class Blocks(nn.Module):
    """A ResNet of basic blocks of one's own neurons over (T, N, C, H, W), membrane shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SeqToAnn(nn.Conv2d(2, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4))
        self.c1 = SeqToAnn(nn.Conv2d(4, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.c2 = SeqToAnn(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8))
        self.short = SeqToAnn(nn.Conv2d(4, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
        self.n = nn.ModuleList([TimeFirstLif() for _ in range(3)])
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.n[0](self.stem(x))
        y = self.c2(self.n[1](self.c1(s)))
        s = self.n[2](y + self.short(s))
        return self.fc(F.adaptive_avg_pool2d(s.flatten(0, 1), 1).flatten(1).view(*s.shape[:2], -1)).mean(0)


class EmptyList(nn.Module):
    """Spikes concatenated along a new axis at the end, batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
        self.act = KeptZero()

    def forward(self, x: Tensor) -> Tensor:
        self.act.reset()
        x = x.permute(1, 0, 2)
        outs = [self.act(self.net(x[i])) for i in range(x.shape[0])]
        return torch.stack(outs).permute(1, 0, 2)


class Start(nn.Module):
    """A membrane that starts at a number of its own."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.full_like(x[0], 0.3), []
        for now in x:
            v = 0.5 * v + now
            s = (v > 0.5).float()
            v = v - 0.5 * s
            out.append(s)
        return torch.stack(out)


def flat(*shape: int) -> Tensor:
    return torch.rand(*shape)


def seq(neuron: Callable[[], nn.Module], *, hidden: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(6, hidden), neuron(), nn.Linear(hidden, 4), neuron())


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    example: tuple[int, ...]
    steps: int | None = None
    refused: str = ""
    instead: str = ""


TNF, NTF, NF = (T, N, 6), (N, T, 6), (N, 6)
IMAGES = (T, N, 2, 8, 8)

MODULES: dict[str, Case] = {
    "TET, (N, T, ...)": Case(lambda: seq(TetLif), NTF),
    "time first": Case(lambda: seq(TimeFirstLif), TNF),
    "soft reset, parameters": Case(lambda: seq(SoftLif)[:2], TNF),
    "STBP, reset in the next step": Case(lambda: seq(Lazy), TNF),
    "v + (x - v) / tau": Case(lambda: seq(TauLif), TNF),
    "in place, masked": Case(lambda: seq(IntegrateAndFire), TNF),
    "mul_, masked_fill_": Case(lambda: seq(InPlace), TNF),
    "current and membrane": Case(lambda: seq(TwoStates), TNF),
    "SpyTorch": Case(lambda: seq(Zenke), TNF, None, "not-a-neuron", "current and membrane"),
    "kept in the module": Case(lambda: seq(Kept), TNF),
    "kept, steps given": Case(lambda: seq(Kept), NF, T),
    "kept as a number": Case(lambda: seq(KeptZero), TNF),
    "straight through": Case(lambda: seq(Straight), TNF),
    "lerp": Case(lambda: seq(Lerp), TNF),
    "lower bound": Case(lambda: seq(Floored), TNF),
    "v_reset": Case(lambda: seq(Refractory), TNF),
    "STBP as published": Case(Stbp, (N, 2, 8, 8)),
    "recurrent, membrane out": Case(Recurrent, TNF),
    "static": Case(Static, NF),
    "static, counts": Case(Counting, NF),
    "static, first layer once": Case(StaticOnce, NF),
    "lists of layers": Case(Layers, TNF),
    "residual": Case(Residual, TNF),
    "AND": Case(And, TNF),
    "IAND": Case(Iand, TNF),
    "TET net": Case(TetNet, (N, T, 2, 8, 8)),
    "TET net, static": Case(TetStatic, (N, 2, 8, 8)),
    "conv step": Case(StepNet, IMAGES),
    "conv step, number": Case(lambda: StepNet(KeptZero), IMAGES),
    "loop around steps": Case(LoopOverKept, IMAGES),
    "states as arguments": Case(Arguments, TNF),
    "states, one sample": Case(Arguments, NF, T),
    "forward(x, num_steps)": Case(NumSteps, NF, T),
    "one step of samples, T given": Case(lambda: seq(TetLif), NF, T),
    "conv1d, batch norm": Case(lambda: Everyday(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.AvgPool1d(2)), (T, N, 2, 12)),
    "pixel shuffle": Case(lambda: Everyday(nn.Conv2d(2, 8, 3, padding=1), nn.PixelShuffle(2)), IMAGES),
    "unflatten": Case(lambda: Everyday(nn.Flatten(), nn.Unflatten(1, (8, 4, 4)), nn.Conv2d(8, 4, 3)), IMAGES),
    "circular padding": Case(lambda: Everyday(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")), IMAGES),
    "halves": Case(Halves, IMAGES),
    "adaptive pool 1d": Case(lambda: Everyday(nn.Conv1d(2, 4, 3), nn.AdaptiveAvgPool1d(1)), (T, N, 2, 12)),
    "tdBN, a method": Case(MemorySpike, IMAGES),
    "membrane in a buffer": Case(lambda: seq(Dspike), NTF),
    "time last": Case(TimeLast, (N, 6, T)),
    "states in a dictionary": Case(Dictionary, TNF),
    "cells with states": Case(Cells, TNF),
    "membrane before current": Case(lambda: seq(Alpha), TNF),
    "memoryless": Case(Memoryless, TNF),
    "preallocated": Case(Preallocated, TNF),
    "thresholds of neurons": Case(Numpyish, TNF),
    "residual blocks": Case(Blocks, IMAGES),
    "permuted": Case(EmptyList, NTF),
    "start value": Case(lambda: seq(Start), TNF),
    "upsampling": Case(lambda: Everyday(nn.Upsample(scale_factor=2), nn.Conv2d(2, 4, 3)), IMAGES),
    "transposed": Case(lambda: Everyday(nn.ConvTranspose2d(2, 4, 3, 2, 1, output_padding=1)), IMAGES),
    "zero padding": Case(lambda: Everyday(nn.ZeroPad2d(1), nn.Conv2d(2, 4, 3)), IMAGES),
    "adaptive pool": Case(lambda: Everyday(nn.Conv2d(2, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1)), IMAGES),
    "weight norm": Case(
        lambda: Everyday(nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), nn.Dropout2d(0.2)), IMAGES
    ),
    "spectral norm": Case(lambda: Everyday(nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 4, 3))), IMAGES),
    "old weight norm": Case(lambda: Everyday(nn.utils.weight_norm(nn.Conv2d(2, 4, 3))), IMAGES),
    "pruned": Case(lambda: Everyday(pruned(nn.Conv2d(2, 4, 3))), IMAGES),
    "group norm": Case(
        lambda: Everyday(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)),
        IMAGES,
        None,
        "unknown-operation",
        "conv1d, batch norm",
    ),
    "joined": Case(Joined, IMAGES),
    "side line": Case(SideLine, NTF),
    "rate coding": Case(Encoded, NF, None, "random", "static"),
    "scripted": Case(Scripted, TNF, None, "unseen", "time first"),
    "attention": Case(Product, TNF, None, "not-spikes", "AND"),
}


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


def built(case: Case, seed: int = 3) -> tuple[nn.Module, Tensor]:
    """The module in eval mode, with running statistics that are no ones, and its example."""
    torch.manual_seed(seed)
    module = case.make().eval()
    example = torch.rand(*case.example)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
    if any(isinstance(part, nn.LazyLinear) for part in module.modules()):
        with torch.no_grad():
            module(example)
        for part in module.modules():
            if isinstance(part, Kept):
                part.mem = None
    for weight in nn.Module.parameters(module):
        weight.data = weight.data * (4 if weight.dim() > 1 else 1)
    return module, example


def made(name: str) -> tuple[nn.Module, Tensor, int | None]:
    """A module by name, its example, and T where it is to be said."""
    return *built(MODULES[name]), MODULES[name].steps


def main(wanted: list[str]) -> None:
    names = [name for name in MODULES if not wanted or any(part in name for part in wanted)]
    taken = 0
    for name in names:
        module, example, steps = made(name)
        try:
            source = load_module(module, example, steps=steps)
            snnhw.compile(module, example, target="loihi2", steps=steps)
            taken += 1
            print(f"taken    {name}: {', '.join(type(node).__name__ for node in source.graph.nodes.values())}")
        except SnnhwError as error:
            print(f"refused  {name}: {error}")
    print(f"{taken} of {len(names)} taken")


if __name__ == "__main__":
    main(sys.argv[1:])
