"""Claims of the SEW ResNet and STBP-tdBN papers, tried at toy scale: docs/claims.md and its pictures.

    python benchmarks/claims.py              # 30 minutes of one free core; finished trainings stay in runs/claims/
    python benchmarks/claims.py --page-only  # the page again, from what is in runs/claims/

Networks of 8 and 16 channels on the 8x8 digits of scikit-learn (1,437 to train, 360 to test), T = 4, images repeated at
every step. Every network of a claim trains with one recipe; nothing is tuned for one of them alone.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import claims_measure as measure
import claims_page as page
import click
import torch
from torch import nn

from snnhw.errors import SnnhwError
from snnhw.frontends.ann import convert
from snnhw.zoo import registry
from snnhw.zoo.datasets import Split
from snnhw.zoo.recipe import Recipe
from snnhw.zoo.sew import SewResNet
from snnhw.zoo.spiking_resnet import PlainNet, SpikingResNet
from snnhw.zoo.tdbn import TdbnResNet, ThresholdDependentBatchNorm2d
from snnhw.zoo.train import train

FOLDER = Path("runs/claims")


def tdbn_without(norm: str, **config: Any) -> nn.Module:
    """A tdBN network whose tdBN is plain BatchNorm (factor 1) or, with ``none``, a bias alone."""
    model = TdbnResNet(**config)
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if not isinstance(layer, ThresholdDependentBatchNorm2d):
                continue
            if norm == "bn":
                setattr(module, name, nn.BatchNorm2d(layer.num_features))
            else:
                conv = next(m for m in module if isinstance(m, nn.Conv2d))
                conv.bias = nn.Parameter(torch.zeros(conv.out_channels))
                setattr(module, name, nn.Identity())
    return model


registry.KINDS.update(
    claims_sew=SewResNet,
    claims_spiking=SpikingResNet,
    claims_plain=PlainNet,
    claims_tdbn=TdbnResNet,
    claims_bn=lambda **config: tdbn_without("bn", **config),
    claims_no_bn=lambda **config: tdbn_without("none", **config),
)


@dataclass(frozen=True)
class Case:
    """One training: a network by its name on the page, its depth in blocks, and a seed."""

    net: str
    depth: int
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.net}-{self.depth}-{self.seed}".replace(" ", "_")

    @property
    def key(self) -> str:
        """What a kept result must have been trained with."""
        r = self.recipe
        return repr((r.kind, r.config, r.steps, r.epochs, r.batch, r.lr, r.optimizer, r.weight_decay, r.loss))

    @property
    def recipe(self) -> Recipe:
        """The same for all networks of a claim but for the network itself."""
        kind, config = NETS[self.net]
        shape = {"in_channels": 1, "channels": [8, 16], "blocks": [self.depth // 2] * 2}
        tdbn = kind in ("claims_tdbn", "claims_bn", "claims_no_bn")
        loss: Any = {"readout": "rate", "loss": "rate_mse"} if tdbn else {"readout": "mean", "loss": "cross_entropy"}
        place: dict[str, Any] = {"stem": 8, "hidden": 0} if tdbn else {"image_size": 8}
        return Recipe(
            name=self.name,
            kind=kind,
            steps=4,
            encoding="direct",
            epochs=20 if tdbn else 8,
            batch=100,
            lr=1e-2,
            flip=False,
            dataset="digits",
            config={**shape, **place, **config},
            **loss,
        )


NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "SEW ADD": ("claims_sew", {"connect": "ADD"}),
    "SEW IAND": ("claims_sew", {"connect": "IAND"}),
    "SEW AND": ("claims_sew", {"connect": "AND"}),
    "SEW AND from identity": ("claims_sew", {"connect": "AND", "zero_init": True}),
    "Spiking ResNet": ("claims_spiking", {}),
    "Spiking ResNet from identity": ("claims_spiking", {"zero_init": True}),
    "PlainNet": ("claims_plain", {}),
    "SEW ADD rectangular": ("claims_sew", {"connect": "ADD", "surrogate": "rectangular"}),
    "Spiking ResNet rectangular": ("claims_spiking", {"surrogate": "rectangular"}),
    "tdBN": ("claims_tdbn", {}),
    "plain BN": ("claims_bn", {}),
    "no BN": ("claims_no_bn", {}),
}
"""Constructor and arguments beyond the shape, by the name the page prints."""

SWEPT = tuple(net for net in NETS if net.startswith(("SEW", "Spiking", "Plain")) and "rectangular" not in net)
TDBN = ("tdBN", "plain BN", "no BN")
SEEDS = (0, 1)
DEEPEST = ("SEW ADD", "SEW IAND", "Spiking ResNet")


def cases() -> list[Case]:
    """All trainings, seed by seed, the long ones last."""
    found: list[Case] = []
    for seed in SEEDS:
        found += [Case(net, depth, seed) for depth in (2, 8, 20) for net in SWEPT]
        found += [Case(net, depth, seed) for depth in (2, 8) for net in NETS if "rectangular" in net]
        found += [Case(net, depth, seed) for depth in (4, 24) for net in TDBN]
        found += [Case(net, 50, seed) for net in DEEPEST]
    return found


def digits() -> Split:
    """The 8x8 digits of scikit-learn in file order, the last 360 to test."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    images = torch.tensor(x * (255 / 16)).round().to(torch.uint8).view(-1, 1, 8, 8)
    labels = torch.tensor(y).long()
    return Split(images[:1437], labels[:1437], images[1437:], labels[1437:])


def kept(case: Case) -> dict[str, Any] | None:
    """The result in its file, if it was trained with this very recipe."""
    path = FOLDER / f"{case.name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found if found is not None and found["key"] == case.key else None


def result(case: Case, data: Split) -> dict[str, Any]:
    """What one training came to; trains where no result is kept."""
    found = kept(case)
    if found is not None:
        return found
    row: dict[str, Any] = {"net": case.net, "depth": case.depth, "seed": case.seed, "key": case.key, "diverged": False}
    begin = time.process_time()
    try:
        checkpoint = FOLDER / f"{case.name}.pt"
        content = train(case.recipe, checkpoint, data=data, seed=case.seed, log=lambda _: None, convert=convert)
        metrics = content["metrics"]
        row |= {key: metrics[key] for key in ("train_loss", "train_accuracy", "test_accuracy")}
    except SnnhwError as error:
        if error.code != "diverged":
            raise
        row |= {"diverged": True, "train_loss": float("inf"), "train_accuracy": 0.0, "test_accuracy": 0.0}
    row["seconds"] = time.process_time() - begin
    (FOLDER / f"{case.name}.json").write_text(json.dumps(row), encoding="utf-8")
    return row


@click.command()
@click.option("--page-only", is_flag=True, help="Train nothing; write the page from the trainings that are there.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
def main(page_only: bool, out: Path) -> None:
    """Train what is missing, print a line for each, measure, and write the page."""
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    data, rows = digits(), []
    for case in cases():
        if page_only and kept(case) is None:
            continue
        row = result(case, data)
        rows.append(row)
        print(
            f"{case.net:<30} {case.depth:>3} blocks, seed {case.seed}: loss {row['train_loss']:.3f}, "
            f"train {row['train_accuracy']:.1%}, test {row['test_accuracy']:.1%}, {row['seconds']:.0f} s",
            flush=True,
        )
    page.write(out, rows, measure.everything(FOLDER, data))


if __name__ == "__main__":
    main()
