"""Models as people write them, by framework: `python -m tests.frontends.models [NAME ...]` runs all, each framework in
its environment, and writes their section of docs/frontends.md. Of a refused one the form that works is named, and
is among them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnhw.errors import SnnhwError
from snnhw.frontends.check import check_import
from snnhw.frontends.live_module import load_module
from tests.frontends.environments import OVERLAYS, ROOT, VARIABLE, environment, make, matrix
from tests.unit.frontends.live import research, written
from tests.unit.frontends.live.written import Case

PAGE = ROOT / "docs" / "frontends.md"
OWN = "plain torch"
START, END = "<!-- models: written by python -m tests.frontends.models -->", "<!-- end of models -->"
T, N = written.T, written.N
TNF, NF, IMAGES = (T, N, 6), (N, 6), (T, N, 2, 12, 12)
Build = Callable[[], nn.Module]


class Of(nn.Module):
    """Layers by name and a forward: as short as a class of one's own."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = forward

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def of(forward: Callable[..., Any], **layers: Callable[[], nn.Module]) -> Build:
    return lambda: Of(forward, **{name: layer() for name, layer in layers.items()})


def linear(a: int, b: int, **more: Any) -> Build:
    return lambda: nn.Linear(a, b, **more)


def snntorch() -> dict[str, Case]:
    import snntorch as snn

    def leaky(**more: Any) -> Build:
        return lambda: snn.Leaky(beta=0.8, threshold=0.5, **more)

    two = {"fc1": linear(6, 8), "fc2": linear(8, 3)}

    def looped(m: Any, x: Tensor) -> Any:
        mem1, mem2 = m.lif1.init_leaky(), m.lif2.init_leaky()
        spikes, mems = [], []
        for step in range(x.shape[0]):
            spk1, mem1 = m.lif1(m.fc1(x[step]), mem1)
            spk2, mem2 = m.lif2(m.fc2(spk1), mem2)
            spikes.append(spk2)
            mems.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(mems, dim=0)

    def shown(m: Any, x: Tensor) -> Any:
        mem1, mem2 = m.lif1.reset_mem(), m.lif2.reset_mem()
        count = 0
        for _ in range(T):
            spk1, mem1 = m.lif1(m.fc1(x), mem1)
            spk2, mem2 = m.lif2(m.fc2(spk1), mem2)
            count = count + spk2
        return count

    def readout(m: Any, x: Tensor) -> Any:
        mem1, mem2, found = m.lif1.init_leaky(), m.lif2.init_leaky(), []
        for now in x:
            spk1, mem1 = m.lif1(m.fc1(now), mem1)
            _, mem2 = m.lif2(m.fc2(spk1), mem2)
            found.append(mem2)
        return torch.stack(found)

    def synaptic(m: Any, x: Tensor) -> Any:
        (syn, mem), found = m.lif1.init_synaptic(), []
        for now in x:
            spk, syn, mem = m.lif1(m.fc1(now), syn, mem)
            found.append(m.fc2(spk))
        return torch.stack(found).mean(0)

    def recurrent(m: Any, x: Tensor) -> Any:
        (spk, mem), found = m.lif1.init_rleaky(), []
        for now in x:
            spk, mem = m.lif1(m.fc1(now), spk, mem)
            found.append(spk)
        return torch.stack(found)

    def slstm(m: Any, x: Tensor) -> Any:
        (syn, mem), found = m.lif1.init_slstm(), []
        for now in x:
            spk, syn, mem = m.lif1(now, syn, mem)
            found.append(spk)
        return torch.stack(found)

    def cnn(*middle: Build) -> Build:
        def build() -> nn.Module:
            hidden = {"init_hidden": True, "beta": 0.6, "threshold": 0.3}
            return nn.Sequential(
                nn.Conv2d(2, 4, 3),
                *(part() for part in middle),
                snn.Leaky(**hidden),
                nn.Flatten(),
                nn.Linear(100, 3),
                snn.Leaky(**hidden, output=True),
            )

        return build

    class Own(snn.Leaky):  # type: ignore[misc]
        def forward(self, x: Tensor, mem: Any = None) -> Any:
            mem = self.beta * (torch.zeros_like(x) if mem is None or not mem.numel() else mem) + x
            spk = (mem > self.threshold).float()
            return spk, mem - spk * self.threshold

    class States(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif1 = nn.Linear(6, 4), snn.Leaky(beta=0.9, threshold=0.5)

        def forward(self, x: Tensor, mem1: Any = None) -> Any:
            if mem1 is None:
                mem1 = self.lif1.init_leaky()
            return self.lif1(self.fc1(x), mem1)

    from snntorch import spikegen

    def encoded(m: Any, x: Tensor) -> Any:
        return looped(m, spikegen.rate(x, num_steps=T))

    rate = "without spikegen, --encode bernoulli"
    return {
        "tutorial 5: loop, spikes and membranes": Case(of(looped, **two, lif1=leaky(), lif2=leaky()), TNF),
        "static input, counts": Case(of(shown, **two, lif1=leaky(), lif2=leaky()), NF),
        "learned beta and threshold": Case(
            of(looped, **two, lif1=leaky(learn_beta=True, learn_threshold=True), lif2=leaky(reset_mechanism="zero")),
            TNF,
        ),
        "Sequential, init_hidden": Case(
            lambda: nn.Sequential(
                nn.Linear(6, 8), leaky(init_hidden=True)(), nn.Linear(8, 3), leaky(init_hidden=True, output=True)()
            ),
            NF,
            T,
        ),
        "membrane readout": Case(of(readout, **two, lif1=leaky(), lif2=leaky(reset_mechanism="none")), TNF),
        "Synaptic, mean of a linear layer": Case(
            of(synaptic, **two, lif1=lambda: snn.Synaptic(alpha=0.5, beta=0.8, threshold=0.5)), TNF
        ),
        "RLeaky": Case(
            of(recurrent, fc1=linear(6, 4), lif1=lambda: snn.RLeaky(beta=0.8, threshold=0.5, linear_features=4)), TNF
        ),
        "CNN, average pool": Case(cnn(lambda: nn.AvgPool2d(2)), IMAGES),
        "CNN, BatchNorm, Dropout": Case(
            cnn(lambda: nn.BatchNorm2d(4), lambda: nn.AvgPool2d(2), lambda: nn.Dropout(0.3)), IMAGES
        ),
        "CNN, neuron before the max pool": Case(
            cnn(lambda: snn.Leaky(beta=0.6, threshold=0.3, init_hidden=True), lambda: nn.MaxPool2d(2)), IMAGES
        ),
        "states as arguments": Case(States, TNF),
        rate: Case(of(looped, **two, lif1=leaky(), lif2=leaky()), TNF),
        "spikegen.rate inside forward": Case(of(encoded, **two, lif1=leaky(), lif2=leaky()), NF, None, "random", rate),
        "subclass with a forward of its own": Case(
            of(looped, **two, lif1=lambda: Own(beta=0.8), lif2=leaky()),
            TNF,
        ),
        "SLSTM": Case(of(slstm, lif1=lambda: snn.SLSTM(6, 4)), TNF, None, "unsupported-neuron", "RLeaky"),
    }


def spikingjelly() -> dict[str, Case]:
    from spikingjelly.activation_based import encoding, functional, layer, neuron

    def multi(build: Build, mode: str = "m") -> Build:
        def made() -> nn.Module:
            module = build()
            functional.set_step_mode(module, mode)
            return module

        return made

    def lif(**more: Any) -> Build:
        return lambda: neuron.LIFNode(tau=2.0, v_threshold=0.3, **more)

    def chain(*parts: Build) -> Build:
        return lambda: nn.Sequential(*(part() for part in parts))

    def flat(*parts: Build) -> Build:
        return chain(lambda: layer.Linear(6, 8), *parts)

    def cnn(*middle: Build) -> Build:
        return chain(
            lambda: layer.Conv2d(2, 4, 3, padding=1, bias=False),
            lambda: layer.BatchNorm2d(4),
            lif(),
            *middle,
            layer.Flatten,
            lambda: layer.Linear(144, 3),
            lif(),
        )

    def sew(m: Any, x: Tensor) -> Any:
        s = m.n1(m.a(x))
        return m.c(s + m.n2(m.b(s)))

    def mean(m: Any, x: Tensor) -> Any:
        return m.c(m.n1(m.a(x)).mean(0))

    def looped(m: Any, x: Tensor) -> Any:
        functional.reset_net(m.net)
        out = 0.0
        for _ in range(T):
            out = out + m.net(x)
        return out / T

    def encoded(m: Any, x: Tensor) -> Any:
        out = 0.0
        for _ in range(T):
            out = out + m.net(m.encoder(x))
        return out / T

    abc = {"a": lambda: layer.Linear(6, 8), "b": lambda: layer.Linear(8, 8), "c": lambda: layer.Linear(8, 3)}
    static = "loop over T in forward"
    return {
        "step mode m, fc": Case(multi(flat(lif(), lambda: layer.Linear(8, 3), lif())), TNF),
        "step mode m, (N, ...) and steps": Case(multi(flat(lif(), lambda: layer.Linear(8, 3), lif())), NF, T),
        "step mode s, steps": Case(flat(lif(), lambda: layer.Linear(8, 3), lif()), NF, T),
        "CNN, BatchNorm, max pool of spikes": Case(multi(cnn(lambda: layer.MaxPool2d(2))), IMAGES),
        "CNN, average pool, dropout": Case(multi(cnn(lambda: layer.AvgPool2d(2), lambda: layer.Dropout(0.5))), IMAGES),
        "SeqToANNContainer": Case(
            multi(chain(lambda: layer.SeqToANNContainer(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), lif())), IMAGES
        ),
        "SEW ADD": Case(multi(of(sew, **abc, n1=lif(), n2=lif())), TNF),
        "fc behind the mean over time": Case(multi(of(mean, **abc, n1=lif())), TNF),
        "SEW ADD, mean at the end": Case(multi(of(lambda m, x: sew(m, x).mean(0), **abc, n1=lif(), n2=lif())), TNF),
        "VotingLayer": Case(multi(flat(lif(), lambda: layer.VotingLayer(2))), TNF),
        "ParametricLIFNode": Case(multi(flat(lambda: neuron.ParametricLIFNode(v_threshold=0.3))), TNF),
        "IFNode, soft reset": Case(multi(flat(lambda: neuron.IFNode(v_threshold=0.5, v_reset=None))), TNF),
        static: Case(of(looped, net=flat(lif(), lambda: layer.Linear(8, 3), lif())), NF),
        "PoissonEncoder inside forward": Case(
            of(encoded, encoder=encoding.PoissonEncoder, net=flat(lif())), NF, None, "random", static
        ),
        "QIFNode": Case(multi(flat(neuron.QIFNode)), TNF, None, "unsupported-neuron", "IFNode, soft reset"),
        "PSN": Case(
            lambda: nn.Sequential(nn.Linear(6, 8), neuron.PSN(T)), TNF, None, "unsupported-neuron", "ParametricLIFNode"
        ),
    }


def sinabs() -> dict[str, Case]:
    import sinabs.layers as sl

    def squeezed(kind: Any, **more: Any) -> Build:
        return lambda: kind(num_timesteps=T, spike_threshold=torch.tensor(0.5), **more)

    ntf = (N, T, 6)
    return {
        "IAF, (N, T, ...)": Case(lambda: nn.Sequential(nn.Linear(6, 8), sl.IAF(), nn.Linear(8, 3), sl.IAF()), ntf),
        "LIF": Case(lambda: nn.Sequential(nn.Linear(6, 8), sl.LIF(tau_mem=10.0)), ntf),
        "LIF with a synaptic current": Case(
            lambda: nn.Sequential(nn.Linear(6, 8), sl.LIF(tau_mem=10.0, tau_syn=5.0)), ntf
        ),
        "ExpLeak readout": Case(
            lambda: nn.Sequential(nn.Linear(6, 8), sl.IAF(), nn.Linear(8, 3), sl.ExpLeak(tau_mem=10.0)), ntf
        ),
        "CNN, squeezed": Case(
            lambda: nn.Sequential(
                nn.Conv2d(2, 4, 3, bias=False),
                squeezed(sl.IAFSqueeze)(),
                nn.AvgPool2d(2),
                nn.Flatten(),
                nn.Linear(100, 3),
                squeezed(sl.IAFSqueeze)(),
            ),
            (N * T, 2, 12, 12),
        ),
        "SumPool2d": Case(
            lambda: nn.Sequential(nn.Conv2d(2, 4, 3), squeezed(sl.IAFSqueeze)(), sl.SumPool2d(2)), (N * T, 2, 12, 12)
        ),
        "recurrent": Case(
            lambda: nn.Sequential(nn.Linear(6, 8), sl.LIFRecurrent(tau_mem=10.0, rec_connect=nn.Linear(8, 8))), ntf
        ),
        "ALIF": Case(
            lambda: nn.Sequential(nn.Linear(6, 8), sl.ALIF(tau_mem=10.0, tau_adapt=10.0)),
            ntf,
            None,
            "unsupported-neuron",
            "LIF",
        ),
    }


def norse() -> dict[str, Case]:
    import norse.torch as norse

    def looped(m: Any, x: Tensor) -> Any:
        s1 = so = None
        voltages = []
        for now in x:
            z, s1 = m.lif(m.fc1(now), s1)
            v, so = m.li(m.fc2(z), so)
            voltages.append(v)
        return torch.stack(voltages)

    def cell() -> nn.Module:
        return norse.LIFCell(norse.LIFParameters(v_th=torch.tensor(0.1)), dt=0.001)

    two = {"fc1": linear(6, 8), "fc2": linear(8, 3)}
    return {
        "SequentialState, LIFCell": Case(
            lambda: norse.SequentialState(nn.Linear(6, 8), cell(), nn.Linear(8, 3), cell()), TNF
        ),
        "loop, LI readout": Case(of(looped, **two, lif=cell, li=lambda: norse.LICell(dt=0.001)), TNF),
        "Lift": Case(
            lambda: norse.SequentialState(
                norse.Lift(nn.Linear(6, 8)), norse.LIF(norse.LIFParameters(v_th=torch.tensor(0.1)))
            ),
            TNF,
        ),
        "LIFBoxCell": Case(lambda: norse.SequentialState(nn.Linear(6, 8), norse.LIFBoxCell(dt=0.001)), TNF),
        "IAFCell": Case(lambda: norse.SequentialState(nn.Linear(6, 8), norse.IAFCell()), TNF),
        "CNN": Case(
            lambda: norse.SequentialState(
                nn.Conv2d(2, 4, 3), cell(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(100, 3), norse.LICell(dt=0.001)
            ),
            IMAGES,
        ),
        "LSNNCell": Case(
            lambda: norse.SequentialState(norse.LSNNRecurrentCell(6, 8)),
            TNF,
            None,
            "unsupported-neuron",
            "LIFBoxCell",
        ),
    }


def rockpool() -> dict[str, Case]:
    from rockpool.nn.combinators import Residual, Sequential
    from rockpool.nn.modules import ExpSynTorch, LIFTorch, LinearTorch

    ntf = (N, T, 6)

    def lif(n: int, **more: Any) -> Any:
        return LIFTorch(n, tau_mem=0.01, tau_syn=0.005, threshold=0.5, dt=1e-3, **more)

    return {
        "Linear, LIF": Case(lambda: Sequential(LinearTorch((6, 8)), lif(8), LinearTorch((8, 3)), lif(3)), ntf),
        "bias": Case(lambda: Sequential(LinearTorch((6, 8), has_bias=True), lif(8)), ntf),
        "residual": Case(lambda: Sequential(LinearTorch((6, 8)), lif(8), Residual(LinearTorch((8, 8)), lif(8))), ntf),
        "recurrent": Case(lambda: Sequential(LinearTorch((6, 8)), lif(8, has_rec=True)), ntf),
        "ExpSyn readout": Case(
            lambda: Sequential(LinearTorch((6, 8)), lif(8), LinearTorch((8, 3)), ExpSynTorch(3, dt=1e-3)), ntf
        ),
    }


def plain() -> dict[str, Case]:
    return {**written.MODULES, **research.MODULES}


FRAMEWORKS: dict[str, Callable[[], dict[str, Case]]] = {
    OWN: plain,
    "snntorch": snntorch,
    "spikingjelly": spikingjelly,
    "sinabs": sinabs,
    "norse": norse,
    "rockpool": rockpool,
}


def judged(case: Case) -> dict[str, Any]:
    """What becomes of a model: its decisions, compared with its own run, or its refusal."""
    module, example = written.built(case)
    try:
        source = load_module(module, example, steps=case.steps)
    except SnnhwError as error:
        return {"refused": error.code, "why": error.message}
    assert source.replay is not None
    x = source.replay.like(np.random.default_rng(1).random(source.replay.example.shape) * 2.0)
    x = np.repeat(x[:, :1], x.shape[1], 1) if case.steps else x
    check = check_import(source, x)
    assert check.samples, check
    return {"decisions": check.compared, "different": check.different, "excepted": check.excepted}


def section(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The matrix as Markdown."""
    rows = []
    for framework, models in found.items():
        for name, result in models.items():
            kind = f"exact ({result['decisions']:,})" if "decisions" in result else f"refused, `{result['refused']}`"
            works = "" if "decisions" in result else f"{result['why']}; works: {result['instead'] or 'see the hint'}"
            rows.append(f"| {framework} | {name} | {kind} | {works} |")
    models = [result for each in found.values() for result in each.values()]
    exact = sum("decisions" in result for result in models)
    share = f"{exact} ({exact / len(models):.0%})"
    head = f"""{START}

## Models as people write them

{len(models)} small models in the forms that tutorials, papers and users have; {share} are exact:
every decision of the float network is the model's own (in brackets how many were compared on random input).
The others are refused by name; what works instead is a row of the table, and a test runs it. Those in plain torch are
`tests/unit/frontends/live/written.py` and `research.py`, where each form of a neuron can be read.

| written with | model | result | why, and what works |
| --- | --- | --- | --- |
"""
    return head + "\n".join(rows) + f"\n\n{END}\n"


def stored() -> dict[str, dict[str, dict[str, Any]]]:
    """Results of the last run."""
    path = OVERLAYS / "results" / "models.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def main(names: list[str]) -> int:
    if os.environ.get(VARIABLE):  # in an environment: results to the process that asked
        framework = os.environ[VARIABLE]
        results = {}
        for name, case in FRAMEWORKS[framework]().items():
            results[name] = {**judged(case), "instead": case.instead}
            print(name, results[name], file=sys.stderr)
        print(json.dumps(results))
        return 0
    found = stored()
    for framework in names or FRAMEWORKS:
        env = {**os.environ, VARIABLE: framework}
        if framework != OWN:
            env = environment(framework, make(framework, matrix()[framework]["packages"]))
        command = [sys.executable, "-W", "ignore", "-m", "tests.frontends.models"]
        run = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
        found[framework] = json.loads(run.stdout.splitlines()[-1])
    found = {name: found[name] for name in FRAMEWORKS if name in found}
    path = OVERLAYS / "results" / "models.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2].lstrip("\n")
    if not rest:
        before, _, after = page.partition("## Layers\n")
        after = "## Layers\n" + after
    PAGE.write_text(f"{before.rstrip()}\n\n{section(found)}\n{after}", encoding="utf-8")
    bad = [(f, n) for f, models in found.items() for n, result in models.items() if result.get("different")]
    print("different:", bad or "none")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
