"""A live module of another framework as a Source: run once, read, folded over time, and ready to be run again."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnhw.cautions import Caution
from snnhw.errors import SourceError
from snnhw.frontends.check import FORWARD_ERRORS
from snnhw.frontends.graph import readout_of
from snnhw.frontends.live.adapter import MEMBRANE, OUT, Adapter, Shape
from snnhw.frontends.live.axes import AXES
from snnhw.frontends.live.counts import refuse_counts
from snnhw.frontends.live.elementwise import COMPARING, ELEMENTWISE
from snnhw.frontends.live.emit import Builder
from snnhw.frontends.live.fold import Folded, Shown, fold, norms_folded
from snnhw.frontends.live.operations import Rule, functions
from snnhw.frontends.live.output import Place, output_of
from snnhw.frontends.live.reader import Reader
from snnhw.frontends.live.recorder import Event, Function, LeafCall, leaves
from snnhw.frontends.live.recurrence import neurons_found
from snnhw.frontends.live.registry import ADAPTERS, frameworks
from snnhw.frontends.live.replay import Replay
from snnhw.frontends.live.runs import Decided, Run, Subject, samples_first
from snnhw.frontends.live.values import INPUT, LEAD, OUTPUT, STATIC, TIME_LAST, WHOLE, Ending, Step, Sum, Term
from snnhw.frontends.source import Source
from snnhw.network import Array
from snnhw.readout import LAST
from snnhw.readout import Rule as Reading
from snnhw.semantics import Deployment, Semantics, to_metadata

Read = tuple[Folded, tuple[Place, str]]
"""A graph, and where in forward's results its output is, over which axes."""

Rules = Mapping[str, Rule]
FEW = 8
"""Steps after which a module that takes one step a call has shown what it does."""


@dataclass(frozen=True)
class Layout:
    """How the user's module takes its input.

    Args:
        axes: as in `runs.calls_of`.
        steps: T of the network; None if nothing says it.
        shape: of one step of one sample.
        recorded: steps of the run that was recorded.
        once: the example is one step of each sample.
        guess: nothing but a fit speaks for it.
    """

    axes: str
    steps: int | None
    shape: Shape
    recorded: int
    once: bool = False
    guess: bool = False


def load_module(
    module: nn.Module,
    example: Any,
    semantics: Semantics,
    *,
    steps: int | None = None,
    deployment: Deployment | None = None,
) -> Source:
    """Import a module of SpikingJelly, snnTorch, sinabs, Norse or Rockpool.

    Args:
        example: what its forward takes: all steps, or one step (with `steps` or `deployment`), or (T, N, ...) for a
            module that takes one step a call.
        semantics: gives dt; all other rules come from the module.
        steps: T, where the example does not say it.
        deployment: how the network is used; told from the example if None.

    Raises:
        SourceError: what cannot be read, by the layer's path and the operation's name.
    """
    told = deployment.steps if deployment is not None else steps
    subject, unknown = _opened(Subject(module, ADAPTERS, steps=told))
    tensor = as_example(example)
    try:
        (folded, place), layout = _read(subject, tensor, told, deployment)
    except SourceError as error:
        if unknown is None:
            _refuse_without_batch(subject, tensor, told, deployment)
        raise unknown or error from None
    if layout.steps is None:
        raise _needs_steps(module, tensor)
    builder = Builder(folded, semantics.dt)
    builder.build(layout.shape)
    rules = replace(builder.semantics(semantics), time_layout=layout.axes)
    whole = bool(torch.equal(tensor, tensor.round()))
    encoding = "spikes" if whole and not layout.once and layout.axes != STATIC else "direct"
    shows = _deployment(folded.shown, layout.steps, encoding, layout.shape, readout_of(builder.graph({})))
    used = deployment or shows
    graph = builder.graph(to_metadata(rules, used))
    refuse_counts(graph, rules)
    origin = {"module": type(module).__name__, "framework": ", ".join(frameworks(module))}
    ending = folded.shown.ending
    if ending is not None:
        origin |= {"left_out": f"{ending.name} at the end: it changes no decision"}
    at = _place_of(folded, place)
    replay = Replay(subject, layout.axes, _samples(tensor, layout), folded.read, at, folded.decided, ending)
    said = _cautions(module, ending, builder.shapes[OUTPUT]) + _contradiction(steps, layout.steps)
    return Source(graph, rules, used, origin, replay=replay, returns=shows, warnings=said)


def _deployment(shown: Shown, steps: int, encoding: str, shape: Shape, what: str) -> Deployment:
    """How forward itself reads the output of its network."""
    what = "membrane" if shown.kept else what
    count = len(range(steps)[slice(*shown.window)])
    averages = shown.over == "sum" and shown.window != LAST and math.isclose(shown.gain * count, 1.0, rel_tol=1e-12)
    over, gain = ("mean", 1.0) if averages else (shown.over, shown.gain)
    usual = "mean" if what == "mean" else "sum"
    return Deployment(
        steps,
        encoding,
        shape,
        Reading(what, over or usual, shown.window).text,
        population=shown.groups or None,
        interleaved=shown.interleaved,
        gain=gain,
    )


def _cautions(module: nn.Module, ending: Ending | None, outputs: Shape) -> tuple[Caution, ...]:
    """What reading a module left out that may matter."""
    found = []
    training = [
        path or type(module).__name__ for path, part in module.named_modules() if part.training and _differs(part)
    ]
    if training:
        found.append(
            Caution(
                "train-mode",
                ", ".join(training[:3]) + (f" and {len(training) - 3} more" if len(training) > 3 else ""),
                "the module is in train mode, in which these layers do something else: it is read in eval mode",
                fix="call module.eval(), and judge it by what it does then",
            )
        )
    if ending is not None and math.prod(outputs) == 1:
        what = f"{ending.name} behind the one output is left out: its values are those before it"
        found.append(Caution("left-out", "forward", what, fix=f"apply {ending.name} to the values"))
    return tuple(found)


def _differs(part: nn.Module) -> bool:
    """Whether a module by itself does something else in training: by its kind, or as its own forward asks."""
    if isinstance(part, (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)):
        return True
    code = getattr(type(part).forward, "__code__", None)
    own = not type(part).__module__.startswith(("torch.", "snntorch", "spikingjelly", "sinabs", "norse", "rockpool"))
    return own and code is not None and "training" in code.co_names


def _contradiction(said: int | None, steps: int) -> tuple[Caution, ...]:
    if said in (None, steps):
        return ()
    what = f"forward loops over {steps} steps itself: steps={said} changes nothing"
    return (Caution("steps-ignored", "steps", what, f"T = {steps}", "leave steps= out, or change the loop"),)


def _read(subject: Subject, example: Tensor, steps: int | None, deployment: Deployment | None) -> tuple[Read, Layout]:
    """The graph; one step of each sample is shown at every step to a module that takes all of them and gets T."""
    try:
        return _read_as_given(subject, example, steps, deployment)
    except SourceError as error:
        if steps is None or error.code == "unseen":
            raise
        for axis in (0, 1):
            with suppress(SourceError):
                shown = example.unsqueeze(axis).repeat_interleave(steps, axis)
                read, layout = _read_as_given(subject, shown, steps, deployment)
                if layout.axes == ("TN", "NT")[axis]:
                    return read, replace(layout, once=True)
        raise


def _read_as_given(
    subject: Subject, example: Tensor, steps: int | None, deployment: Deployment | None
) -> tuple[Read, Layout]:
    run, layouts = recorded(subject, example, steps, deployment)
    try:
        if not list(leaves(subject.module, subject.known)) and not _comparing(run):
            raise SourceError(
                "no-neurons",
                "the module has no neurons that are known, and compares nothing with a threshold",
                where=type(subject.module).__name__,
                limit=", ".join(adapter.name for adapter in ADAPTERS),
                hint="snnhw.convert takes ReLU networks; a neuron of one's own compares its membrane in torch: mem > 1",
            )
        try:
            return _first_that_fits(run, layouts)
        except SourceError:
            if max(_comparing(run).values(), default=0) != FEW or example.dim() < 3:
                raise
            with suppress(SourceError, *FORWARD_ERRORS):  # no neuron has a memory: all steps may come at once
                shape = tuple(example.shape)
                whole = [Layout(axes, shape[at], shape[2:], shape[at]) for at, axes in enumerate(("TN", "NT"))]
                return _first_that_fits(subject.run([example]), whole)
            raise
    except SourceError as error:
        if error.code != "unknown-operation":  # which says more
            _refuse_unseen(run)
        raise


def _refuse_without_batch(subject: Subject, example: Tensor, steps: int | None, deployment: Deployment | None) -> None:
    """Where nothing could be read, it may be that the example is one sample."""
    for axis, orders in ((1, ("TN", "N")), (0, ("NT", "N", STATIC))):
        layout = None
        with suppress(SourceError, *FORWARD_ERRORS):
            _, layout = _read_as_given(subject, example.unsqueeze(axis), steps, deployment)
        if layout is not None and layout.axes in orders and layout.recorded > 1:
            raise SourceError(
                "no-batch-axis",
                "the example input has no axis for samples: it is one sample",
                where="example_input",
                needed=tuple(example.unsqueeze(axis).shape),
                limit=f"got {tuple(example.shape)}",
                hint=f"give example.unsqueeze({axis}), or several samples",
            )


def _refuse_unseen(run: Run) -> None:
    """Where nothing could be read, it may be that the neurons run where nothing is recorded."""
    samples = {n for tensor in run.inputs for n in tensor.shape[:2]}
    for where, tensor in run.unseen:
        if tensor.dim() > 1 and tensor.shape[0] in samples:
            raise SourceError(
                "unseen",
                "a tensor comes from code that cannot be recorded: torch.jit.script, numpy, or an extension",
                where=where,
                needed=tuple(tensor.shape),
                limit="torch functions, also inside of torch.autograd.Function",
                hint="take @torch.jit.script off; write the neuron with torch functions",
            )


SHAPED = 2
"""Samples and steps at most of a run for shapes alone; with more than one of each no axis is taken for another."""


def import_module(module: nn.Module, deployment: Deployment, semantics: Semantics) -> Source:
    """A module of snnhw.zoo: (T, N, *input shape) to its output at every step, copied to float64.

    It runs without numbers, for shapes alone, so that large networks take no time; with zeros where forward needs
    numbers.

    Args:
        semantics: gives dt and the time layout.

    Raises:
        SourceError: as `load_module`.
    """
    subject = Subject(copy.deepcopy(module).double().eval(), ADAPTERS, own=True)
    _, unknown = _opened(subject)
    if unknown is not None:
        raise unknown
    folded, place = _of_shapes(subject, deployment) or _of_zeros(subject, deployment)
    if place[0]:
        raise SourceError(
            "inputs-outputs", "forward does not return one tensor", where=type(module).__name__, limit="one tensor"
        )
    builder = Builder(folded, semantics.dt)
    builder.build(deployment.input_shape)
    rules = builder.semantics(semantics)
    graph = builder.graph(to_metadata(rules, deployment))
    return Source(graph, rules, deployment, {"module": type(module).__name__}, subject.module)


def _of_shapes(subject: Subject, deployment: Deployment) -> Read | None:
    """None where forward needs numbers."""
    steps = min(SHAPED, deployment.steps)
    layout = Layout("TN", steps, deployment.input_shape, steps)
    nothing = torch.empty(steps, SHAPED, *deployment.input_shape, device="meta")
    with suppress(*FORWARD_ERRORS):
        return _first_that_fits(subject.run([nothing], shapes=True), [layout])[0]
    return None


def _of_zeros(subject: Subject, deployment: Deployment) -> Read:
    zeros = torch.zeros(deployment.steps, SHAPED, *deployment.input_shape)
    run, error = _tried(subject, [zeros])
    if run is None:
        raise _not_taken(subject, zeros, error)
    return _first_that_fits(run, [Layout("TN", deployment.steps, deployment.input_shape, deployment.steps)])[0]


def read_stateless(module: nn.Module, samples: Tensor, adapter: Adapter, rules: Rules) -> tuple[Folded, Place]:
    """A module without time, on samples (N, ...): its nodes, and where in forward's result its output is.

    Args:
        adapter: of its leaves.
        rules: of functions that other modules do not have.
    """
    subject = Subject(module, (adapter,), own=True)
    run, error = _tried(subject, [samples])
    if run is None:
        raise _not_taken(subject, samples, error)
    layout = Layout("N", 1, tuple(samples.shape[1:]), 1)
    (folded, place), _ = _first_that_fits(run, [layout], rules)
    return folded, place[0]


def recorded(
    subject: Subject, example: Tensor, steps: int | None, deployment: Deployment | None
) -> tuple[Run, list[Layout]]:
    """A run on the example, and the layouts that it may have been of, likeliest first."""
    run, error = _tried(subject, [example])
    if run is None and example.dim() > 2 and not _keeps_time(subject):
        run, _ = _tried(subject, [example[0]])
        if run is not None:
            return _step_by_step(subject, example, over_time=True, steps=steps)
    if run is None:
        raise _not_taken(subject, example, error)
    calls = [event for event in run.events if isinstance(event, LeafCall) and event.call.axes in LEAD]
    axes = next((event.call.axes for event in calls if event.call.axes != "N"), None)
    if axes is not None:
        known = (event.call.steps for event in calls if event.call.steps is not None)
        whole = _of_whole(axes, example, next(known, None) if steps is None else steps)
        return run, [*whole, *_repeated_inside(calls, example)]
    counts = {*Counter(event.path for event in calls).values(), *_comparing(run).values()} - {1}
    if counts:
        return run, [layout for count in sorted(counts) for layout in _looped(tuple(example.shape), count)]
    return _step_by_step(subject, example, over_time=_is_over_time(run, example, deployment), steps=steps)


def _of_whole(axes: str, example: Tensor, steps: int | None) -> list[Layout]:
    """The example holds all steps, as the first leaf takes them, unfolded, or as forward puts them in that order."""
    shape = tuple(example.shape)
    likely = axes.strip("()")
    each = {order: shape[order.index("T")] for order in ((likely, likely[::-1]) if len(shape) > 2 else (likely,))}
    unfolded = [Layout(order, count, shape[2:], count, guess=order != likely) for order, count in each.items()]
    if axes == likely or steps is None or shape[0] % steps:
        return unfolded
    return [Layout(axes, steps, shape[1:], steps), *unfolded]


def _looped(shape: Shape, count: int) -> list[Layout]:
    """Forward loops: over the example's steps, or it shows one at each."""
    static = Layout(STATIC, count, shape[1:], count)
    if len(shape) < 3:
        return [static]
    orders = (("TN", shape[0], shape[2:]), ("NT", shape[1], shape[2:]), (TIME_LAST, shape[-1], shape[1:-1]))
    return [static, *(Layout(axes, steps, one, steps) for axes, steps, one in orders if count % steps == 0)]


def _repeated_inside(calls: list[LeafCall], example: Tensor) -> list[Layout]:
    """The example is one step of each sample, which forward repeats."""
    first = next((event.call for event in calls if event.call.axes in ("TN", "NT")), None)
    if first is None:
        return []
    steps = int(first.out.shape[first.axes.index("T")])
    return [Layout(STATIC, steps, tuple(example.shape[1:]), steps)]


def _step_by_step(subject: Subject, example: Tensor, over_time: bool, steps: int | None) -> tuple[Run, list[Layout]]:
    """A module that takes one step a call, fed by us."""
    given = list(example[:FEW]) if over_time else [example]
    run, error = _tried(subject, (given * FEW)[:FEW])
    if run is None:
        raise _not_taken(subject, example, error)
    shape = tuple(example.shape)
    if not over_time:
        return run, [Layout("N", steps, shape[1:], FEW, once=True)]
    return run, [Layout("N", steps or shape[0], shape[2:], FEW)]


def _is_over_time(run: Run, example: Tensor, deployment: Deployment | None) -> bool:
    """Whether the example of a module that takes one step a call is (T, N, ...), not (N, ...)."""
    if deployment is not None:
        return example.dim() == len(deployment.input_shape) + 2
    features = {
        "linear": 1,
        "matmul": 1,
        "conv1d": 2,
        "conv2d": 3,
        "avg_pool2d": 3,
        "max_pool1d": 2,
        "max_pool2d": 3,
        "batch_norm": None,
    }
    start = run.inputs[0]
    first = next((event for event in run.events if _reads(event, start)), None)
    axes = features.get(first.name, 0) if isinstance(first, Function) else None
    if axes == 0 or (axes is None and example.dim() == 2):  # it takes the first axis for the batch
        return False
    if axes is None:
        raise SourceError(
            "which-axes",
            "the first layer takes tensors of any shape: is the example one step (N, ...), or all steps (T, N, ...)?",
            where=type(first).__name__ if not isinstance(first, LeafCall) else first.path,
            needed=tuple(example.shape),
            hint="say it with deployment=Deployment(steps, encoding, input_shape, readout)",
        )
    return example.dim() == axes + 2


def as_example(example: Any) -> Tensor:
    """An example input as a tensor of real, finite numbers, as `calls_of` takes it."""
    try:
        tensor = torch.as_tensor(example)
        tensor = tensor.double() if tensor.dtype is torch.bool else tensor
        finite = not tensor.is_complex() and bool(torch.isfinite(tensor).all())
    except FORWARD_ERRORS as error:
        raise SourceError(
            "bad-data", f"the example input is no array of numbers: {error}", where="example_input"
        ) from None
    if not finite:
        raise SourceError(
            "bad-data",
            "the example input holds complex numbers or values that are not finite",
            where="example_input",
            hint="remove NaN and infinity",
        )
    if not tensor.dim() or not tensor.numel():
        raise SourceError(
            "bad-shape", "the example input holds no samples", where="example_input", needed=tuple(tensor.shape)
        )
    return tensor


def _not_taken(subject: Subject, example: Tensor, error: Exception | None) -> SourceError:
    return SourceError(
        "bad-shape",
        f"the module does not take the example input: {error}",
        where=type(subject.module).__name__,
        needed=tuple(example.shape),
    )


def _opened(subject: Subject) -> tuple[Subject, SourceError | None]:
    """The subject with neurons open that no adapter knows (their arithmetic may be a neuron's), and why it does not."""
    found: dict[int, SourceError] = {}
    for path, layer, adapter in leaves(subject.module, subject.adapters):
        refusals = []
        for port in (OUT, MEMBRANE):
            try:
                adapter.cell(layer, (1,), port, 1.0, path)
            except SourceError as error:
                refusals += [error] if error.code == "unsupported-neuron" else []
            except FORWARD_ERRORS:  # of a shape that is not the layer's
                pass
        if len(refusals) == 2:
            found[id(layer)] = refusals[0]
    return replace(subject, opened=frozenset(found)), next(iter(found.values()), None)


def _reads(event: Event, tensor: Tensor) -> bool:
    given = [event.call.current] if isinstance(event, LeafCall) else [*event.args, *event.kwargs.values()]
    takes_value = isinstance(event, LeafCall) or event.name not in ("size", "dim", "shape")
    return takes_value and any(part is tensor for part in given)


def _tried(subject: Subject, inputs: list[Tensor]) -> tuple[Run | None, Exception | None]:
    try:
        return subject.run(inputs), None
    except SourceError:
        raise
    except FORWARD_ERRORS as error:  # the user's forward runs here
        return None, error


def _keeps_time(subject: Subject) -> bool:
    return any(adapter.keeps_time(layer) for _, layer, adapter in leaves(subject.module, subject.adapters))


def _first_that_fits(run: Run, layouts: list[Layout], rules: Rules = MappingProxyType({})) -> tuple[Read, Layout]:
    """The graph by the first layout that the run agrees with; of errors the one that comes last in the run."""
    sites = Counter(event.site for event in run.events if isinstance(event, Function))
    errors = list[tuple[int, SourceError]]()
    # a forward without comparisons is read as one that writes out filters only where it cannot be read otherwise
    for written in [True] if _comparing(run) else [False, True]:
        failed = []
        for layout in layouts:
            steps = layout.recorded if layout.axes not in (STATIC, "N") else None
            starts = run.starts if layout.axes == "N" else ()
            reader = Reader(layout.recorded, steps, sites if written else None, starts)
            try:
                return _folded(reader, run, layout, rules), layout
            except SourceError as error:
                failed.append((0 if layout.guess else reader.events, error))
        errors = errors or failed
    raise max(errors, key=lambda pair: pair[0])[1]


def _comparing(run: Run) -> Counter[int]:
    """How often values are compared at each site: neurons written out in forward."""
    return Counter(event.site for event in run.events if isinstance(event, Function) and event.name in COMPARING)


def _folded(reader: Reader, run: Run, layout: Layout, rules: Rules) -> Read:
    reader.shapes[INPUT] = layout.shape
    for number, tensor in enumerate(run.inputs):
        step = STATIC if layout.axes == STATIC else number if layout.axes == "N" else WHOLE
        reader.give(tensor, Sum((Term(INPUT, step),), "N" if layout.axes == STATIC else layout.axes))
    known = {**functions(), **AXES, **(ELEMENTWISE if reader.written else {}), **rules}
    for event in run.events:
        reader.read(event, known)
    output, place = output_of(reader, run.results)
    starts = reader.started() if reader.written else {}
    folded = neurons_found(fold(reader, output, layout.recorded, more=layout.axes == "N"), starts)
    decided = {name: _decided(reader.decided[key], inverted) for name, (key, inverted) in folded.told.items()}
    return norms_folded(replace(folded, decided=decided)), (place, output.axes)


def _decided(calls: Mapping[Step, tuple[int, int, str]], inverted: bool) -> Decided:
    """Where a comparison's results are."""
    order = sorted(calls, key=lambda step: step if isinstance(step, int) else 0)
    axes = calls[order[0]][2]
    return Decided(tuple(calls[step][:2] for step in order), axes if order[0] == WHOLE else "N", inverted)


def _place_of(folded: Folded, place: tuple[Place, str]) -> dict[str, tuple[Place, str]]:
    """The output node, and where it is in what forward returns; its axes are '' where forward reduced the time."""
    return {OUTPUT: (place[0], "" if folded.shown.over else place[1])}


def _samples(example: Tensor, layout: Layout) -> Array:
    """The example as (B, T, ...)."""
    assert layout.steps is not None
    values: Array = example.detach().cpu().double().numpy()
    if layout.axes == STATIC or layout.once:
        return np.broadcast_to(values[:, None], (len(values), layout.steps, *layout.shape))
    if layout.axes == "N":
        values = values[np.arange(layout.steps) % len(values)]
    axes = "TN" if layout.axes == "N" else layout.axes
    return samples_first(torch.from_numpy(values), axes, layout.steps)


def _needs_steps(module: nn.Module, example: Tensor) -> SourceError:
    return SourceError(
        "needs-steps",
        "the module takes one step a call, and nothing says how many steps a sample has",
        where=type(module).__name__,
        needed=tuple(example.shape),
        hint="give steps=T, or an example (T, N, ...)",
    )
