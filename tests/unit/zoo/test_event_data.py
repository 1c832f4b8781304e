"""Event recordings as frames, the data sets made of them, and random temporal delete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snnhw.errors import SnnhwError
from snnhw.zoo import event_data
from snnhw.zoo.checkpoint import load_model
from snnhw.zoo.datasets import dataset_of
from snnhw.zoo.encode import delete_steps, encode
from snnhw.zoo.evaluate import accuracy
from snnhw.zoo.event_data import SUBSET, frames_by_number, stack
from snnhw.zoo.event_files import Events, events_of
from snnhw.zoo.train import train
from tests.unit.zoo.test_event_files import HEADER3, aedat2_bytes, nmnist_bytes, packet, polarity


def recording(count: int, seed: int = 0, size: int = 4) -> Events:
    rng = np.random.default_rng(seed)
    return events_of(np.arange(count), *rng.integers(0, size, (2, count)), rng.integers(0, 2, count))


@pytest.mark.parametrize(("count", "steps"), [(10, 3), (12, 3), (7, 7), (100, 16)])
def test_frames_are_split_by_number_and_hold_counts(count: int, steps: int) -> None:
    events = recording(count)
    wanted = np.zeros((steps, 2, 4, 5), int)
    for index, event in enumerate(events):
        step = min(index // (count // steps), steps - 1)
        wanted[step, event["p"], event["y"], event["x"]] += 1
    found = frames_by_number(events, steps, (4, 5))
    assert np.array_equal(found, wanted)
    assert found.sum((1, 2, 3)).tolist() == [count // steps] * (steps - 1) + [count - count // steps * (steps - 1)]
    assert found.max() > 1 or count < 30


def test_frames_do_not_depend_on_time() -> None:
    events = recording(20)
    slow = events.copy()
    slow["t"] = slow["t"] ** 2 * 1000
    assert np.array_equal(frames_by_number(events, 4, (4, 4)), frames_by_number(slow, 4, (4, 4)))


def test_counts_are_never_clipped() -> None:
    many = events_of(*np.zeros((4, 900), int))
    few, _ = stack([(recording(30), 3)], 3, (4, 4))
    both, labels = stack([(recording(30), 3), (many, 1)], 3, (4, 4))
    assert few.dtype == torch.uint8
    assert both.dtype == torch.int32
    assert both[1, :, 0, 0, 0].tolist() == [300] * 3
    assert labels.tolist() == [3, 1]


def test_recordings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SnnhwError, match="the recording cannot be split into that many frames") as few:
        stack([(recording(9), 0), (recording(3), 7)], 4, (4, 4))
    assert few.value.code == "too-few-events"
    assert "recording 1 (label 7)" in str(few.value)
    with pytest.raises(SnnhwError, match="an event lies outside of the sensor") as outside:
        frames_by_number(recording(9), 3, (4, 3))
    assert outside.value.code == "event-outside"


def subset(path: Path, recordings: int, **changes: np.ndarray) -> Path:
    """A file as shared/data/nmnist1100.npz: twelve events a recording, all at (x = index % 34, y = 2), ON."""
    each = 12
    x = np.repeat(np.arange(recordings) % 34, each)
    arrays = {
        "t": np.tile(np.arange(each, dtype=np.int32), recordings),
        "xyp": (x | 2 << 6 | 1 << 12).astype(np.uint16),
        "start": np.arange(recordings + 1) * each,
        "y": (np.arange(recordings) % 10).astype(np.uint8),
    }
    np.savez(path, **{**arrays, **changes})
    return path


def test_the_subset_of_nmnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNNHW_NMNIST", str(subset(tmp_path / "n.npz", 1003)))
    data = dataset_of("nmnist")
    assert data.x_train.shape == (1000, 10, 2, 34, 34)
    assert data.x_train.dtype == torch.uint8
    assert data.sequence
    assert data.input_shape == (2, 34, 34)
    assert data.y_test.tolist() == [0, 1, 2]
    assert data.x_test[1, :, 1, 2, 1001 % 34].tolist() == [1] * 9 + [3]
    assert data.x_test[1].sum() == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"y": np.zeros(3)},
        {"start": np.arange(1004)},
        {"start": np.arange(1004)[::-1].copy()},
        {"start": np.r_[0, 36, 12, np.arange(3, 1004) * 12]},
        {"t": np.zeros(5, int)},
        {"t": np.zeros(1003 * 12)},
        {"xyp": np.zeros((2, 2))},
        {"xyp": np.full(1003 * 12, 1 << 13)},
        {"y": np.array(["a"] * 1003)},
    ],
)
def test_a_damaged_subset_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, np.ndarray]
) -> None:
    monkeypatch.setenv("SNNHW_NMNIST", str(subset(tmp_path / "n.npz", 1003, **changes)))
    with pytest.raises(SnnhwError, match="an event file is not what it should be") as caught:
        event_data.nmnist()
    assert caught.value.code == "dataset-damaged"


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "n.npz").write_bytes(b"not a zip")
    monkeypatch.setenv("SNNHW_NMNIST", str(tmp_path / "n.npz"))
    with pytest.raises(SnnhwError, match="arrays t, xyp, start and y"):
        event_data.nmnist()


def test_the_original_folder_of_nmnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, label, shift in (("Train", 0, 0), ("Train", 1, 1), ("Test", 0, 2), ("Test", 1, 3)):
        folder = tmp_path / part / str(label)
        folder.mkdir(parents=True)
        (folder / "00001.bin").write_bytes(nmnist_bytes([(t, shift, 1, 1) for t in range(10)]))
    monkeypatch.setenv("SNNHW_NMNIST", str(tmp_path))
    data = dataset_of("nmnist")
    assert (data.y_train.tolist(), data.y_test.tolist()) == ([0, 1], [0, 1])
    assert data.x_test[1, :, 1, 1, 3].tolist() == [1] * 10
    (tmp_path / "Test" / "0" / "00001.bin").unlink()
    (tmp_path / "Test" / "1" / "00001.bin").unlink()
    with pytest.raises(SnnhwError, match="no recordings are there") as caught:
        event_data.nmnist()
    assert caught.value.code == "dataset-missing"


def gesture_folder(root: Path) -> None:
    for part, user in (("train", "user01_led"), ("test", "user24_led")):
        events = [(t, t, 127, 1) for t in range(100)]
        (root / f"{user}.aedat").write_bytes(HEADER3 + packet(polarity(events), len(events)))
        (root / f"{user}_labels.csv").write_text("class,startTime_usec,endTime_usec\n2,0,16\n11,16,100\n")
        (root / f"trials_to_{part}.txt").write_text(f"{user}.aedat\n\n")


def test_dvs_gesture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gesture_folder(tmp_path)
    monkeypatch.setenv("SNNHW_DVS_GESTURE", str(tmp_path))
    data = dataset_of("dvs_gesture")
    assert data.x_train.shape == data.x_test.shape == (2, 16, 2, 128, 128)
    assert data.classes == 11
    assert data.y_train.tolist() == [1, 10]
    assert data.x_train[0, 3].nonzero().tolist() == [[1, 127, 3]]
    (tmp_path / "trials_to_test.txt").unlink()
    with pytest.raises(SnnhwError, match="DVS128 Gesture cannot be read: it is not there") as caught:
        event_data.dvs_gesture()
    assert caught.value.code == "dataset-missing"
    assert "the list of recordings" in str(caught.value)


def test_cifar10_dvs_is_split_per_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("airplane", "bird"):
        (tmp_path / name).mkdir()
        for index in range(10):
            events = [(t, index, 5, 0) for t in range(16)]
            (tmp_path / name / f"cifar10_{name}_{index}.aedat").write_bytes(aedat2_bytes(events))
    monkeypatch.setenv("SNNHW_CIFAR10_DVS", str(tmp_path))
    data = dataset_of("cifar10_dvs")
    assert data.y_train.tolist() == [0] * 9 + [1] * 9
    assert data.y_test.tolist() == [0, 1]
    assert data.x_test[:, 0].nonzero().tolist() == [[0, 0, 5, 9], [1, 0, 5, 9]]


@pytest.mark.parametrize(
    ("name", "variable", "text"),
    [
        ("nmnist", "SNNHW_NMNIST", "nmnist1100.npz"),
        ("dvs_gesture", "SNNHW_DVS_GESTURE", "trials_to_train.txt"),
        ("cifar10_dvs", "SNNHW_CIFAR10_DVS", "one folder a class"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "none"))
    with pytest.raises(SnnhwError, match="cannot be read: it is not there") as caught:
        dataset_of(name)
    assert caught.value.code == "dataset-missing"
    assert text in str(caught.value)
    assert f"set {variable} to where it lies" in str(caught.value)


def test_the_shipped_recordings() -> None:
    data = dataset_of("events_smoke")
    assert (data.x_train.shape, len(data.y_test)) == ((80, 10, 2, 34, 34), 20)
    assert data.x_train.dtype == torch.uint8
    counts = torch.cat([data.x_train, data.x_test]).flatten(1).sum(1)
    assert counts.min() > 1000
    assert 3000 < counts.double().mean() < 5000


@pytest.mark.skipif(not SUBSET.is_file(), reason="shared/data/nmnist1100.npz is not beside the checkout")
def test_the_shipped_recordings_are_those_of_the_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNNHW_NMNIST", raising=False)
    shipped, whole = dataset_of("events_smoke"), dataset_of("nmnist")
    assert torch.equal(torch.cat([shipped.x_train, shipped.x_test]), whole.x_test)
    assert torch.equal(torch.cat([shipped.y_train, shipped.y_test]), whole.y_test)


@pytest.mark.parametrize("name", ["seven_b_net", "wide_seven_b_net"])
def test_shipped_networks_classify_the_shipped_recordings(name: str, examples: Path) -> None:
    """They were trained on other recordings; the accuracy is that of the training's log."""
    path = examples / f"{name}.pt"
    model, content = load_model(path)
    assert path.stat().st_size < 700_000
    with np.load(examples / "nmnist_100.npz") as file:
        x, y = torch.tensor(file["x"]), torch.tensor(file["y"])
    found = accuracy(model, x, y, encoding="spikes", steps=10, readout="mean")
    assert found == pytest.approx(content["metrics"]["test_accuracy"], abs=0.02)
    assert found > 0.9
    fewer = accuracy(model, x[:, :8], y, encoding="spikes", steps=8, readout="mean")
    assert fewer > 0.7


def test_a_missing_shipped_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_data, "SHIPPED", tmp_path / "none.npz")
    with pytest.raises(SnnhwError, match="the shipped event frames are not there") as caught:
        event_data.events_smoke()
    assert caught.value.code == "dataset-missing"


def test_frames_reach_the_network_as_counts() -> None:
    x = torch.tensor([[[0, 3], [200, 1]]], dtype=torch.uint8)
    assert encode(x, "spikes", 2, torch.Generator()).tolist() == [[[0.0, 3.0]], [[200.0, 1.0]]]


def test_random_temporal_delete_keeps_order_and_is_uniform() -> None:
    x = torch.arange(8).view(8, 1).expand(8, 3)
    generator = torch.Generator().manual_seed(0)
    kept = torch.zeros(8)
    for _ in range(800):
        part = delete_steps(x, 6, generator)
        assert part.shape == (6, 3)
        assert (part[1:] > part[:-1]).all()
        kept += torch.bincount(part[:, 0], minlength=8)
    assert ((kept / 800 - 0.75).abs() < 0.06).all()
    assert delete_steps(x, 0, generator) is x
    assert delete_steps(x, 8, generator) is x


@pytest.mark.parametrize("name", ["seven_b_net_smoke", "wide_seven_b_net_smoke"])
def test_smoke_recipes_train_on_real_events(tmp_path: Path, name: str) -> None:
    content = train(name, tmp_path / "m.pt", epochs=1, log=lambda _line: None)
    assert content["deploy"]["preprocessing"] == "none"
    assert content["deploy"]["steps"] == 10
    assert np.isfinite(content["metrics"]["train_loss"])
    calibration = content["calibration"]["x"]
    assert calibration.dtype == torch.uint8
    assert calibration.nbytes <= 330_000
    assert (tmp_path / "m.pt").stat().st_size < 700_000
