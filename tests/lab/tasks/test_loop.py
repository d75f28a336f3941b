"""The training loop: budgets, schedules, checkpoints that are complete at any time, exact resuming."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.lab.networks.attributes import AttributesConfig
from styleid.lab.networks.identity import IdentityConfig
from styleid.lab.networks.parser import ParserConfig
from styleid.lab.tasks import identity, loop
from styleid.lab.tasks.attributes import AttributesTask
from styleid.lab.tasks.identity import IdentityTask
from styleid.lab.tasks.loop import RunState, Task, TrainingOptions, load_checkpoint, load_network, parse_duration, run
from styleid.lab.tasks.loop import save_checkpoint as save
from styleid.lab.tasks.optim import adam_with_decay
from styleid.lab.tasks.parser import ParserTask
from tests.lab.standin import Teacher
from tests.lab.synthetic import synthetic_pack
from tests.lab.training_tester import differing, tensors


class TinyTask:
    """Fits a line to noise. It has enough weights to compare, and advances a clock that a test controls."""

    images_per_step = 4

    def __init__(self, width: int = 3, tick: Callable[[], None] = lambda: None) -> None:
        torch.manual_seed(0)
        self.network, self.tick, self.progress = nn.Linear(width, 2), tick, list[float]()
        self.networks: dict[str, nn.Module] = {"line": self.network}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"line": adam_with_decay(self.network, 0.1)}

    def step(self, generator: torch.Generator, progress: float) -> dict[str, torch.Tensor]:
        self.tick()
        self.progress.append(progress)
        x = torch.randn(4, self.network.in_features, generator=generator)
        loss = (self.network(x) - x.sum(1, keepdim=True)).square().mean()
        self.network.zero_grad()
        loss.backward()
        self.optimizers["line"].step()
        return {"loss": loss.detach()}

    def evaluate(self) -> dict[str, float]:
        return {"norm": float(self.network.weight.detach().norm())}

    def sheet(self) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(scope="module")
def pack():
    return synthetic_pack(40, 24, 4)  # 32 px crops


def quiet(text: str) -> None:
    del text


def tiny(pack, folder: Path) -> Task:
    return TinyTask()


def parser(pack, folder: Path) -> Task:
    return ParserTask(pack, ParserConfig(32, (4, 6, 8, 8)), batch=4)


def attributes(pack, folder: Path) -> Task:
    config = AttributesConfig(32, 32, IdentityConfig((4, 6, 8, 8), (1, 1, 1, 1)))
    return AttributesTask(pack, config=config, batch=6)


def distilled(pack, folder: Path) -> Task:
    return IdentityTask(pack, folder, IdentityConfig((4, 6, 8, 8), (1, 1, 1, 1)), batch=4)


@pytest.mark.parametrize("make", [tiny, parser, attributes, distilled])
def test_a_stop_changes_nothing(make: Callable[..., Task], pack, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(identity, "IdentityTeacher", Teacher)
    straight = make(pack, tmp_path)
    start = {name: value.clone() for name, value in tensors(straight).items()}
    for step in range(5):
        straight.step(torch.Generator().manual_seed(7 * 1_000_003 + step), step / 5)
    assert any(not torch.equal(start[name], value) for name, value in tensors(straight).items())

    stopped = make(pack, tmp_path)
    for step in range(3):
        stopped.step(torch.Generator().manual_seed(7 * 1_000_003 + step), step / 5)
    save(stopped, RunState(3, 1.5, 3 * stopped.images_per_step), tmp_path / "saved")
    resumed = make(pack, tmp_path)
    options = TrainingOptions("60s", steps=5, resume_from=tmp_path / "saved", save_to=tmp_path / "saved", seed=7)
    state = run(resumed, options, quiet)
    assert differing(straight, resumed) == []
    assert (state.step, state.images) == (5, 5 * resumed.images_per_step)
    assert state.seconds > 1.5
    assert state.history[-1].keys() >= {"step", "seconds", "images"}
    again = make(pack, tmp_path)
    assert load_checkpoint(again, tmp_path / "saved") == state
    assert differing(straight, again) == []


def clock(monkeypatch) -> Callable[[float], None]:
    """Replace the loop's clock by one that only a test advances."""
    now = [100.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def test_a_run_saves_regularly_and_ends_with_its_budget(tmp_path: Path, monkeypatch) -> None:
    move, saves, said = clock(monkeypatch), [], list[str]()
    task = TinyTask(tick=lambda: move(1.0))
    monkeypatch.setattr(loop, "save_checkpoint", lambda task, state, folder: saves.append(state.step))
    state = run(task, TrainingOptions("50s", save_every="20s", save_to=tmp_path), said.append)
    assert (state.step, state.seconds, state.images) == (50, 50.0, 200)
    assert saves == [20, 40, 50]
    assert task.progress == pytest.approx(np.arange(50) / 50)
    assert [line.split(",")[0] for line in said[:-1]] == ["step 20", "step 40"]
    assert "4 images/s" in said[0]
    assert "norm" in said[-1]


def test_schedules_follow_the_whole_training_over_its_slices(tmp_path: Path, monkeypatch) -> None:
    move, progress = clock(monkeypatch), list[float]()
    for _ in range(3):
        task = TinyTask(tick=lambda: move(1.0))
        options = TrainingOptions("4s", total_time="10s", resume_from=tmp_path, save_to=tmp_path)
        state = run(task, options, quiet)
        progress += task.progress
    assert progress == pytest.approx([*np.arange(10) / 10, 1.0, 1.0])
    assert [record["step"] for record in state.history] == [4, 8, 12]


def test_steps_limit_all_slices_together(tmp_path: Path) -> None:
    for steps in (3, 5, 5):
        state = run(TinyTask(), TrainingOptions("60s", steps=steps, resume_from=tmp_path, save_to=tmp_path), quiet)
        assert state.step == steps
    assert (tmp_path / "sheet.png").is_file()


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path, monkeypatch) -> None:
    move = clock(monkeypatch)
    task = TinyTask(tick=lambda: move(30.0))
    with torch.no_grad():
        task.network.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"'loss' is nan at step 1.*learning rate"):
        run(task, TrainingOptions("1h", save_to=tmp_path), quiet)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("8m", 480), ("1.5h", 5400), ("12", 12), (" 2 m ", 120), ("0s", 0)]
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "8 minutes", "-3s", "1h30m", "8d"])
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(TrainingError, match="is not a duration"):
        parse_duration(text)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("steps", [0, 2], ids=["same step again", "later step"])
def test_the_folder_holds_a_complete_checkpoint_at_any_time(steps: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "MAX_PART_BYTES", 16)  # several parts even for this small network
    task, folder = TinyTask(), tmp_path / "checkpoint"
    task.step(torch.Generator().manual_seed(0), 0.0)
    save(task, RunState(1), folder)
    old = {name: value.clone() for name, value in tensors(task).items()}
    for step in range(steps + 1):  # the weights change even if the step does not
        task.step(torch.Generator().manual_seed(1 + step), 0.5)
    seen = []

    def watched(function: Callable[..., None]) -> Callable[..., None]:
        def look_before_and_after(*arguments: object) -> None:
            for moment in ("before", "after"):
                other = TinyTask()
                state = load_checkpoint(other, folder)
                wanted = old if state.step == 1 and not seen_new() else tensors(task)
                given = tensors(other)
                seen.append((moment, all(torch.equal(given[name], value) for name, value in wanted.items())))
                if moment == "before":
                    function(*arguments)

        return look_before_and_after

    listing = json.loads((folder / "state.json").read_text())["files"]

    def seen_new() -> bool:
        return json.loads((folder / "state.json").read_text())["files"] != listing

    monkeypatch.setattr(loop, "save_file", watched(loop.save_file))
    monkeypatch.setattr(loop, "replace_whole", watched(loop.replace_whole))
    save(task, RunState(1 + steps), folder)
    assert len(seen) >= 8
    assert all(right for _, right in seen)
    assert seen_new()
    # no file of the old checkpoint is left
    parts = {path.name for path in folder.iterdir()} - {"state.json", "sheet.png"}
    assert parts == set(json.loads((folder / "state.json").read_text())["files"])


@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_kill_while_saving_leaves_the_last_checkpoint(call: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "MAX_PART_BYTES", 16)
    task = TinyTask()
    save(task, RunState(1), tmp_path)
    old = {name: value.clone() for name, value in tensors(task).items()}
    task.step(torch.Generator().manual_seed(0), 0.0)
    calls, write = iter(range(100)), loop.save_file

    def interrupted(part: dict[str, torch.Tensor], path: Path) -> None:
        if next(calls) == call:
            Path(path).write_bytes(b"half")
            raise KilledError
        write(part, path)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_file", interrupted)
        with pytest.raises(KilledError):
            save(task, RunState(1), tmp_path)
    resumed = TinyTask()
    assert load_checkpoint(resumed, tmp_path).step == 1
    assert all(torch.equal(tensors(resumed)[name], value) for name, value in old.items())
    save(task, RunState(2), tmp_path)
    assert load_checkpoint(resumed, tmp_path).step == 2
    assert differing(task, resumed) == []


class Wide(TinyTask):
    def __init__(self) -> None:
        super().__init__()
        self.networks = {"wide": nn.ModuleList([nn.Linear(500, 500, bias=False) for _ in range(36)])}
        self.optimizers = {}


def test_parts_stay_under_15_megabytes(tmp_path: Path) -> None:
    task = Wide()  # 36 matrices of 1 MB each
    save(task, RunState(1), tmp_path)
    sizes = [path.stat().st_size for path in tmp_path.glob("*.safetensors")]
    assert len(sizes) == 3
    assert max(sizes) <= 15_000_000
    assert load_checkpoint(task, tmp_path).step == 1


@pytest.mark.parametrize(("most", "exact", "kept"), [(20_000, True, True), (9000, False, True), (6000, False, False)])
def test_moments_are_stored_as_exactly_as_the_size_limit_allows(
    most: int, exact: bool, kept: bool, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(loop, "MAX_TOTAL_BYTES", most)
    task = TinyTask(width=500)  # 4 kB of weights; moments take 8 kB in float32, 4 kB in bfloat16
    task.step(torch.Generator().manual_seed(0), 0.0)
    save(task, RunState(1), tmp_path)
    assert json.loads((tmp_path / "state.json").read_text())["exact"] is exact
    resumed = TinyTask(width=500)
    load_checkpoint(resumed, tmp_path)
    assert differing(task, resumed) == []
    moments = resumed.optimizers["line"].state
    assert len(moments) == (2 if kept else 0)
    assert all(m["exp_avg"].dtype == torch.float32 for m in moments.values())


def test_an_absent_or_empty_folder_starts_a_new_training(tmp_path: Path) -> None:
    assert load_checkpoint(TinyTask(), tmp_path) == RunState()
    assert load_checkpoint(TinyTask(), tmp_path / "absent") == RunState()
    with pytest.raises(TrainingError, match=r"absent holds no checkpoint.*Train 'line' first"):
        load_network(nn.Linear(3, 2), tmp_path / "absent", "line")


def test_one_network_of_a_checkpoint_loads_frozen(tmp_path: Path) -> None:
    task = TinyTask()
    save(task, RunState(1), tmp_path)
    network = load_network(nn.Linear(3, 2), tmp_path, "line")
    assert torch.equal(network.weight, task.network.weight)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def no_state(folder: Path) -> None:
    (folder / "state.json").write_text('{"step": 1, "fi')


def no_part(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()


def half_a_part(folder: Path) -> None:
    part = next(folder.glob("*.safetensors"))
    part.write_bytes(part.read_bytes()[:-20])


def other_record(folder: Path) -> None:
    (folder / "state.json").write_text('{"epoch": 3}')


def a_list(folder: Path) -> None:
    (folder / "state.json").write_text("[]")


def other_widths(folder: Path) -> None:
    shutil.rmtree(folder)
    save(TinyTask(width=4), RunState(1), folder)


def other_names(folder: Path) -> None:
    task = TinyTask()
    task.networks = {"circle": task.network}
    shutil.rmtree(folder)
    save(task, RunState(1), folder)


@pytest.mark.parametrize("harm", [no_state, no_part, half_a_part, other_record, a_list, other_widths, other_names])
def test_damaged_and_unsuitable_checkpoints_are_named(harm: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "precious"
    save(TinyTask(), RunState(1), folder)
    harm(folder)
    for load in (lambda: load_checkpoint(TinyTask(), folder), lambda: load_network(nn.Linear(3, 2), folder, "line")):
        with pytest.raises(TrainingError, match="precious"):
            load()
