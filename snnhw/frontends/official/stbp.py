"""The STBP authors' MNIST network (Wu et al. 2018): conv1, conv2, fc1, fc2 with biases, in a `.t7` torch pickle."""

from __future__ import annotations

from snnhw.frontends.official.answers import Answers
from snnhw.frontends.official.found import Found
from snnhw.frontends.official.keys import Keys
from snnhw.semantics import Deployment

_LAYERS = ("conv1", "conv2", "fc1", "fc2")
_WHOSE = "the STBP authors' code"


def is_stbp(keys: Keys) -> bool:
    """Those eight weights and no others; STBP-simple's nets have them too, but under aliases, and pool otherwise."""
    named = {f"{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias")}
    kernels = keys.shape("conv1.weight")[2:] == keys.shape("conv2.weight")[2:] == (3, 3)
    return set(keys.state) == named and kernels and "tdBN aliases" not in keys.layout


def read_stbp(keys: Keys, answers: Answers) -> Found:
    """conv-LIF-avg2-conv-LIF-avg2-fc-LIF-fc-LIF; neurons, T and encoding are constants of the code, not of the file."""
    inputs = keys.shape("conv1.weight")[1]
    shape = answers.image(inputs, (28, 28), _WHOSE)
    config = {
        "in_channels": inputs,
        "image_size": shape[1],
        "channels": [keys.shape("conv1.weight")[0], keys.shape("conv2.weight")[0]],
        "hidden": keys.shape("fc1.weight")[0],
        "classes": keys.shape("fc2.weight")[0],
        "decay": answers.ask("decay", assumed=0.2, why=_WHOSE),
        "threshold": answers.ask("threshold", assumed=0.5, why=_WHOSE),
    }
    deployment = Deployment(
        steps=answers.ask("steps", assumed=20, why=_WHOSE),
        encoding=answers.ask("encoding", assumed="bernoulli", why=_WHOSE),
        input_shape=shape,
        readout=answers.ask("readout", assumed="rate", why=_WHOSE),
        preprocessing="uint8/255",
    )
    return Found("STBP SCNN", "stbp_scnn", config, deployment, lambda key: key.replace(".0.", "."))
