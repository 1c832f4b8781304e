"""The subprocess that runs Lava: `python -m snnhw.engines.lava.worker FOLDER`. No torch here: it hangs inside Lava.

It reads the plan from the folder, runs it, and leaves an error file on failure. Its standard input is a leash: when
the parent closes it, or dies, the worker ends all Lava processes and itself.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import shutil
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from snnhw.engines.lava.compat import prepare
from snnhw.engines.lava.folder import read_plan
from snnhw.engines.lava.plan import Node, Plan, Wire
from snnhw.engines.lava.report import FOLDER, write_error

CHANNEL_SLOTS = 4
"""Messages a channel can hold; Lava's default of 64 takes 64 copies of every population's spikes."""

LEASH_PERIOD = 0.2


def main(folder: Path) -> None:
    """Run the plan in `folder`, then end everything that was started."""
    os.environ[FOLDER] = str(folder)
    threading.Thread(target=_leash, args=(folder, os.getppid()), daemon=True).start()
    try:
        kept = run(read_plan(folder))  # noqa: F841  Lava stops its processes when these are collected
    except Exception as error:  # noqa: BLE001  the parent raises it again
        write_error(folder, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    threading.Event().wait()  # until the leash ends us


def run(plan: Plan) -> dict[str, Any]:
    """Build the processes of a plan and run all its steps; returns the processes, still alive."""
    prepare()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi1SimCfg

    classes = _classes()
    processes = {node.name: _build(node, *classes[node.kind]) for node in plan.nodes}
    for wire in plan.wires:
        _connect(processes, wire)
    config = Loihi1SimCfg(select_tag="fixed_pt", exception_proc_model_map=dict(classes.values()))
    settings = {"pypy_channel_size": CHANNEL_SLOTS}
    processes[plan.nodes[0].name].run(condition=RunSteps(num_steps=plan.steps), run_cfg=config, compile_config=settings)
    return processes


def _classes() -> dict[str, tuple[Any, Any]]:
    """Process class and process model of every kind of node."""
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import Dense
    from lava.proc.lif.process import LIFReset

    from snnhw.engines.lava_processes import models, process, stock

    return {
        "Clock": (process.Clock, models.ClockModel),
        "Source": (process.Source, models.SourceModel),
        "Delay": (process.Delay, models.DelayModel),
        "Synapses": (process.Synapses, models.SynapsesModel),
        "Programmable": (process.Programmable, models.ProgrammableModel),
        "LIFReset": (LIFReset, stock.StockLif),
        "Dense": (Dense, stock.StockDense),
        "Conv": (Conv, stock.StockConv),
    }


def _build(node: Node, process: Any, model: Any) -> Any:
    params = dict(node.params)
    # stock LIFReset takes no parameters of ours; they are added for its model afterwards
    extra = {key: params.pop(key) for key in ("place", "fires")} if node.kind == "LIFReset" else {}
    built = process(name=node.name, **params, **node.arrays)
    for key, value in extra.items():
        built.proc_params[key] = value
    built.declared_model = model
    return built


def _connect(processes: dict[str, Any], wire: Wire) -> None:
    out_port = getattr(processes[wire.source], wire.out_port)
    in_port = getattr(processes[wire.target], wire.in_port)
    (out_port.reshape(wire.reshape) if wire.reshape else out_port).connect(in_port)


def _leash(folder: Path, parent: int) -> None:
    """Wait for the parent to let go, and tidy up after one that was killed; meanwhile report Lava processes that end on
    their own (killed, out of memory)."""
    told = False
    while not select.select([sys.stdin], [], [], LEASH_PERIOD)[0]:
        lost = None if told else _lost_child()
        if lost is not None:
            told = True
            write_error(folder, f"a Lava process ended before the run did: {lost}")
    _end_children()
    if os.getppid() != parent:
        shutil.rmtree(folder, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # whatever Lava forked in the meantime, and this process
    os._exit(0)


def _lost_child() -> str | None:
    """What ended a child, without reaping it (Lava joins its children itself)."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return f"exit status {found.si_status}" if found.si_code == os.CLD_EXITED else f"signal {found.si_status}"


def _end_children() -> None:
    """Kill and reap: a parent further up may not reap what it inherits."""
    pids = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    for pid in pids:
        with suppress(ProcessLookupError):  # reaped by Lava in the meantime
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with suppress(ChildProcessError):  # the same
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
