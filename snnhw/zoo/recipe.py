"""What a training run depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Everything a training run depends on, except the seed.

    ``steps`` is T of the deployed network and of training; the first ``short_epochs`` epochs train at
    ``short_steps`` instead. The learning rate rises linearly to ``lr`` over ``warmup`` (a fraction of the
    run) and falls as a half cosine to ``lr / 100``. ``train_steps`` keeps that many randomly chosen steps of
    each training sequence, in order (random temporal delete of SEW ResNet's event networks); 0 keeps all.
    ``deploy_steps``: T of the deployed network where it differs from that of training.
    ``convert_steps``: the network is a ReLU network, deployed with that T after conversion (`conversion.py`).
    ``optimizer`` is adam, adamw or stdp, which is no optimizer: it learns without gradients, one sample after the other
    (`stdp.py`), with what ``learning`` says of `stdp.Plasticity`; batch and loss are then not used.
    """

    name: str
    kind: str
    steps: int
    encoding: str
    readout: str
    loss: str
    epochs: int
    batch: int
    lr: float
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    warmup: float = 0.1
    short_steps: int = 0
    short_epochs: int = 0
    train_steps: int = 0
    deploy_steps: int = 0
    convert_steps: int = 0
    flip: bool = True
    shift: int = 0
    label_smoothing: float = 0.0
    dataset: str = "fashion_mnist"
    config: dict[str, Any] = field(default_factory=dict)
    learning: dict[str, float] = field(default_factory=dict)

    @property
    def deployed(self) -> int:
        """T of the deployed network (before a conversion)."""
        return self.deploy_steps or self.steps

    def steps_at(self, epoch: int) -> int:
        """T of training in that epoch (from 0)."""
        return self.short_steps if epoch < self.short_epochs else self.steps

    def lr_at(self, fraction: float) -> float:
        """Learning rate when that fraction (0..1) of the whole run is done."""
        if fraction < self.warmup:
            return self.lr * max(fraction / self.warmup, 0.01)
        phase = (fraction - self.warmup) / (1.0 - self.warmup)
        return self.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * phase)))
