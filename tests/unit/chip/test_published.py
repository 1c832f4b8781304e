"""The shipped Loihi 1 fit against SANA-FE's own run of its DVS net (docs/energy.md, "Checked by")."""

from __future__ import annotations

import pytest

from snnhw.machine import load_target


def test_dvs_net_energy() -> None:
    """1000 steps: synapses 1.83 mJ, soma 1.32 mJ, network 0.29 mJ (messages without hops: 0.275 mJ)."""
    energy = load_target("loihi1").energy
    synapses = 51.5e6 * energy.synop.dense
    soma = 18.68e6 * energy.access + 15.54e6 * energy.update + 365e3 * energy.spike_out
    messages = 2.48e6 * energy.message_out
    assert synapses == pytest.approx(1.83e-3, abs=0.005e-3)
    assert soma == pytest.approx(1.32e-3, abs=0.005e-3)
    assert messages == pytest.approx(0.275e-3, abs=0.001e-3)
