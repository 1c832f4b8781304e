"""Training of the zoo's networks: seeded, resumable, one checkpoint per epoch."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from snnhw import files
from snnhw.errors import SnnhwError
from snnhw.zoo import checkpoint, stdp
from snnhw.zoo.competition import StdpNet
from snnhw.zoo.conversion import Convert, deployable
from snnhw.zoo.datasets import Split, dataset_of
from snnhw.zoo.diagnose import diagnose
from snnhw.zoo.encode import augment, delete_steps, encode, scale
from snnhw.zoo.evaluate import accuracy
from snnhw.zoo.objectives import decode, loss_of
from snnhw.zoo.recipe import Recipe
from snnhw.zoo.registry import build, recipe_of

Log = Callable[[str], None]
Watch = Callable[[list[dict[str, Any]]], None]


class Logger(Protocol):
    """What TensorBoard's and W&B's users write: numbers by name, and the epoch as `step`."""

    def __call__(self, metrics: dict[str, float], /, *, step: int) -> Any: ...


STDP = "stdp"
"""What a recipe says in place of an optimizer where nothing is learnt by gradients."""

PROBE = 1000
"""Test images looked at after every epoch; nothing is selected by them, the last epoch is the result."""


def train(
    recipe: str | Recipe,
    out: str | Path,
    data: Split | None = None,
    seed: int = 0,
    resume: bool = False,
    epochs: int | None = None,
    progress: bool | None = None,
    log: Log | None = None,
    health: Watch | None = None,
    logger: Logger | None = None,
    convert: Convert | None = None,
) -> dict[str, Any]:
    """Trains a recipe and returns the checkpoint's content, which is also at ``out`` after every epoch.

    Args:
        recipe: name of a shipped recipe, or a recipe.
        out: checkpoint to write; the resume state goes to ``<out>.resume``.
        data: training and test images; by default what the recipe names.
        seed: of weights, order of samples, augmentation and Bernoulli input.
        resume: go on from ``<out>.resume`` if it is there; the result equals an uninterrupted run bit by bit.
        epochs: stop after that many epochs in all (the schedule stays that of the recipe), to go on later.
        progress: bar on stderr; by default only on a terminal.
        log: takes one line per epoch, and notes on what is (not) resumed; by default stderr.
        health: takes the history after every epoch, whose rows then have the state of every spiking layer on a
            probe batch under ``health`` (`diagnose.py`); the training itself is the same, bit by bit.
        logger: called as `logger(metrics, step=epoch)` after every epoch, as `wandb.log` is; the metrics are numbers by
            name (loss, accuracies, learning rate, seconds).
        convert: `snnhw.frontends.ann.convert`, for recipes of ReLU networks.
    """
    recipe, out = recipe_of(recipe), Path(out)
    if recipe.optimizer == STDP and health is not None:
        raise _no_gradients(recipe)
    with files.claim((out, _state_file(out)), folders=True):
        data = data or dataset_of(recipe.dataset)
        log = log or _to_stderr
        torch.manual_seed(seed)
        model = build(recipe.kind, recipe.config)
        optimizer = _optimizer(recipe, model)
        history = _resume(_state_file(out), recipe, seed, model, optimizer) if resume else []
        done, last = len(history), min(epochs or recipe.epochs, recipe.epochs)
        _note(log, recipe, _state_file(out), resume, done, last)
        for epoch in range(done, last):
            started = time.monotonic()
            row: dict[str, Any] = {"epoch": epoch + 1, **_epoch(recipe, model, optimizer, data, seed, epoch, progress)}
            deployed, network = deployable(recipe, model, data, convert)
            row["test_probe"] = _accuracy(deployed, network, data, PROBE)
            history.append(row)
            if health is not None:
                row["health"] = _health(recipe, model, data, seed)
            if epoch + 1 == recipe.epochs:
                row["test_accuracy"] = _accuracy(deployed, network, data, len(data.y_test))
            if epoch + 1 == recipe.epochs and network is not model:
                row["unconverted_accuracy"] = _accuracy(recipe, model, data, len(data.y_test))
            content = checkpoint.pack(deployed, network, data, seed, history)
            state = _state(recipe, seed, model, optimizer, history)
            files.write({out: checkpoint.saved(content, out), _state_file(out): checkpoint.saved(state)})
            seconds = time.monotonic() - started
            log(f"{recipe.name} {_line(row, recipe.epochs)} {seconds:.0f} s")
            if logger is not None:
                numbers = {key: float(value) for key, value in row.items() if isinstance(value, (int, float))}
                logger(numbers | {"lr": _rate(recipe, optimizer, epoch), "seconds": seconds}, step=epoch + 1)
            if health is not None:
                health(history)
        if health is not None and not range(done, last):
            health(history)
        content = checkpoint.pack(*deployable(recipe, model, data, convert), data, seed, history)
        if not out.is_file():  # resumed after the last epoch, and the file has gone
            checkpoint.write(out, content)
        return content


def _note(log: Log, recipe: Recipe, state: Path, resume: bool, done: int, last: int) -> None:
    """Says what becomes of a training state that is there, or is not."""
    if resume and not state.is_file():
        log(f"{recipe.name}: nothing to resume, {state} is not there: training starts anew")
    elif resume and done >= last:
        log(f"{recipe.name}: nothing left to train, {done} of {recipe.epochs} epochs are done")
    elif not resume and state.is_file():
        log(f"{recipe.name}: training starts anew; {state} of an earlier run is replaced after the first epoch")


def _health(recipe: Recipe, model: nn.Module, data: Split, seed: int) -> dict[str, Any]:
    """Of the first training samples, without augmentation, at the T of deployment."""
    x, y = data.x_train[: recipe.batch], data.y_train[: recipe.batch]
    values = x if recipe.encoding == "spikes" else scale(x)
    probe = encode(values, recipe.encoding, recipe.steps, torch.Generator().manual_seed(seed))
    return diagnose(model, probe, lambda output: loss_of(recipe, model, output, y)).columns()


def _epoch(
    recipe: Recipe,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    data: Split,
    seed: int,
    epoch: int,
    progress: bool | None,
) -> dict[str, float]:
    """One pass over the training images in an order, with draws, that depend on seed and epoch alone."""
    generator = torch.Generator().manual_seed((seed << 16) + epoch + 1)
    if optimizer is None:
        with _bar(f"epoch {epoch + 1}/{recipe.epochs}", len(data.y_train), progress) as advance:
            return stdp.epoch(_competing(recipe, model), recipe, data, epoch, generator, advance)
    torch.manual_seed((seed << 16) + epoch + 1)
    model.train()
    order = torch.randperm(len(data.y_train), generator=generator)
    batches = torch.split(order, recipe.batch)
    steps = recipe.steps_at(epoch)
    loss_sum, right = 0.0, 0
    with _bar(f"epoch {epoch + 1}/{recipe.epochs}", len(batches), progress) as advance:
        for index, rows in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr_at((epoch + index / len(batches)) / recipe.epochs)
            y = data.y_train[rows]
            output = model(_input(recipe, data.x_train[rows], steps, generator))
            loss = loss_of(recipe, model, output, y)
            loss_sum += _finite(loss, f"{recipe.name}, epoch {epoch + 1}, batch {index + 1}") * len(rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            right += int((decode(output.detach(), recipe.readout) == y).sum())
            advance()
    return {"steps": steps, "train_loss": loss_sum / len(order), "train_accuracy": right / len(order)}


def _finite(loss: Tensor, where: str) -> float:
    value = float(loss.detach())
    if math.isfinite(value):
        return value
    raise SnnhwError(
        "diverged",
        "the loss is no longer a finite number",
        where=where,
        needed="a finite loss",
        limit=f"got {value}",
        hint="lower the recipe's lr, or give it a longer warmup; the checkpoint of the epoch before is still there",
    )


def _input(recipe: Recipe, samples: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Training samples as the network reads them, ``[T, N, ...]``."""
    if recipe.encoding == "spikes":
        return delete_steps(encode(samples, "spikes", steps, generator), recipe.train_steps, generator)
    x = augment(scale(samples), recipe.flip, recipe.shift, generator)
    return encode(x, recipe.encoding, steps, generator)


def _competing(recipe: Recipe, model: nn.Module) -> StdpNet:
    """The network, if STDP can train it."""
    if isinstance(model, StdpNet):
        return model
    raise SnnhwError(
        "not-for-stdp",
        "STDP trains one layer of competing neurons, and the recipe has another network",
        where=recipe.name,
        needed=f"kind {recipe.kind!r}",
        limit="kind 'stdp_net'",
        hint="correct the recipe's kind, or its optimizer (adam, adamw)",
    )


def _no_gradients(recipe: Recipe) -> SnnhwError:
    return SnnhwError(
        "no-gradients",
        "the recipe learns by STDP, without the gradients that the health of a training is about",
        where=recipe.name,
        needed="health",
        hint="leave --health out; the checkpoint's history has the accuracies",
    )


def _rate(recipe: Recipe, optimizer: torch.optim.Optimizer | None, epoch: int) -> float:
    """The rate of learning at the end of an epoch (from 0)."""
    return recipe.lr_at((epoch + 1) / recipe.epochs) if optimizer is None else float(optimizer.param_groups[0]["lr"])


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer | None:
    """Weight decay acts on weights only, never on biases, BatchNorm or a neuron's parameters. None: STDP."""
    if recipe.optimizer == STDP:
        return None
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.lr)
    raise _unknown("optimizer", recipe.optimizer, "adam, adamw, stdp")


def _accuracy(recipe: Recipe, model: nn.Module, data: Split, samples: int) -> float:
    x, y = data.x_test[:samples], data.y_test[:samples]
    return accuracy(model, x, y, encoding=recipe.encoding, steps=recipe.deployed, readout=recipe.readout)


def _state_file(out: Path) -> Path:
    return out.with_name(out.name + ".resume")


def _state(
    recipe: Recipe,
    seed: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    history: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "recipe": repr(recipe),
        "seed": seed,
        "model": model.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "history": history,
    }


def _resume(
    path: Path, recipe: Recipe, seed: int, model: nn.Module, optimizer: torch.optim.Optimizer | None
) -> list[dict[str, Any]]:
    """Loads model and optimizer in place and returns the history; empty when there is no state to resume."""
    if not path.is_file():
        return []
    state = checkpoint.read_plain(path)
    if not {"recipe", "seed", "model", "optimizer", "history"} <= set(state):
        raise SnnhwError(
            "bad-resume",
            "the saved training state is damaged or of another version",
            where=str(path),
            hint="delete the file to start anew",
        )
    if state["recipe"] != repr(recipe) or state["seed"] != seed:
        raise SnnhwError(
            "resume-mismatch",
            "the saved training state belongs to another run",
            where=str(path),
            needed=f"seed {seed}, {recipe!r}",
            limit=f"seed {state['seed']}, {state['recipe']}",
            hint="use the same recipe and seed, or delete the file to start anew",
        )
    try:
        return _restored(state, recipe, model, optimizer)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise SnnhwError(
            "bad-resume",
            "the saved training state does not fit the network",
            where=str(path),
            needed=f"{type(error).__name__}: {error}",
            hint="delete the file to start anew",
        ) from None


def _restored(
    state: dict[str, Any], recipe: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer | None
) -> list[dict[str, Any]]:
    """The history; model and optimizer are loaded in place. Raises what torch raises, or ValueError."""
    history: list[dict[str, Any]] = state["history"]
    if [row["epoch"] for row in history] != list(range(1, min(len(history), recipe.epochs) + 1)):
        raise ValueError("its history is not one of its epochs")
    model.load_state_dict(state["model"])
    if optimizer is None:
        if not all(torch.isfinite(t).all() for t in model.state_dict().values()):
            raise ValueError("it holds numbers that are not finite")
        return history
    options = [_options(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state["optimizer"])
    if [_options(group) for group in optimizer.param_groups] != options or (history and not optimizer.state):
        raise ValueError("its optimizer is another one")
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group |= own  # equal, and of the same types: 0.9+0j is 0.9, too
    numbers = [complex(kept["step"]) for kept in optimizer.state.values()]
    if any(step.imag or not 1 <= step.real < 1 << 53 or step.real % 1 for step in numbers):
        raise ValueError("the optimizer's steps are no counts")
    moments = [(p, t) for p, kept in optimizer.state.items() for t in kept.values() if isinstance(t, Tensor) and t.ndim]
    if any(t.shape != p.shape for p, t in moments):
        raise ValueError("the optimizer's moments have another shape")
    if not all(torch.isfinite(t).all() for t in (*model.state_dict().values(), *(t for _, t in moments))):
        raise ValueError("it holds numbers that are not finite")
    return history


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in ("params", "lr")}


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _line(row: dict[str, Any], epochs: int) -> str:
    shown = [f"{key} {value:.4f}" for key, value in row.items() if isinstance(value, float)]
    return " ".join([f"epoch {row['epoch']}/{epochs} T={row['steps']}", *shown])


class _Bar:
    """A progress bar on stderr as a context that gives the function to advance it by one."""

    def __init__(self, label: str, total: int) -> None:
        columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task(label, total=total)

    def __enter__(self) -> Callable[[], None]:
        self.bar.start()
        return lambda: self.bar.advance(self.task)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def _bar(label: str, total: int, progress: bool | None) -> Any:
    shown = sys.stderr.isatty() if progress is None else progress
    return _Bar(label, total) if shown else nullcontext(lambda: None)


def _unknown(what: str, name: str, limit: str) -> SnnhwError:
    hint = "correct the recipe"
    return SnnhwError(
        f"unknown-{what}",
        f"no {what} of that name",
        where="recipe",
        needed=repr(name),
        limit=limit,
        hint=hint,
    )
