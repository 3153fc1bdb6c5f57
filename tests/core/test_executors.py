"""Sweeps: tasks on threads, on processes and on a Dask cluster; workers that die; work that is kept."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import xarray as xr
from distributed import LocalCluster

import bayescale as bs
from bayescale.core.errors import FitError
from bayescale.core.executors import Dask, Processes, Shelf, Threads, engine, sweep
from bayescale.core.progress import Stages
from bayescale.inference.fit import sampled

SETTINGS = {"chains": 2, "draws": 200, "warmup": 100, "seed": 5, "progress": False}


def square(number: int, folder: Path) -> int:
    """Leave a mark for every time it is begun; 3 kills its process the first time, 6 each time, and 5 raises."""
    marks = len(list(folder.glob(f"begun-{number}-*")))
    (folder / f"begun-{number}-{marks}").touch()
    if number == 6 or (number == 3 and not marks):
        time.sleep(0.2)  # half way: others are at work
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        raise ValueError("five")
    return number**2


def tasks_in(folder: Path, numbers: range) -> dict:
    return {str(number): {"number": number, "folder": folder} for number in numbers}


def shelf_in(folder: Path) -> Shelf:
    return Shelf(folder, ".txt", lambda result, path: path.write_text(str(result)), lambda path: int(path.read_text()))


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("on", [Threads(2), Processes(2)], ids=["threads", "processes"])
def test_an_exception_ends_its_own_task_alone(on, marks):
    found = dict(sweep(square, {name: task for name, task in tasks_in(marks, range(4, 9)).items() if name != "6"}, on))
    assert isinstance(found.pop("5"), ValueError)
    assert found == {"4": 16, "7": 49, "8": 64}


def test_a_killed_process_costs_its_own_task_alone_and_a_second_sweep_does_only_that(marks, tmp_path):
    shelf, tasks = shelf_in(tmp_path / "kept"), tasks_in(marks, range(5))
    first = dict(sweep(square, tasks, Processes(2), shelf))
    lost = first.pop("3")
    assert isinstance(lost, FitError)
    assert "worker process died" in str(lost)
    assert first == {"0": 0, "1": 1, "2": 4, "4": 16}
    again = dict(sweep(square, tasks, Processes(2), shelf))
    assert again == first | {"3": 9}
    assert sorted(mark.name for mark in marks.iterdir() if mark.name.endswith("-1")) == ["begun-3-1"]


class Made:
    """A result that can be watched."""


def made(number: int) -> Made:
    return Made()


def test_results_that_were_yielded_are_let_go():
    seen: list[weakref.ref] = []
    for _, result in sweep(made, {str(number): {"number": number} for number in range(5)}, Threads(1)):
        seen.append(weakref.ref(result))
        assert [one() for one in seen[:-1]] == [None] * (len(seen) - 1)


@pytest.mark.parametrize("on", [Threads(1), Threads(3)], ids=["one thread", "three threads"])
def test_only_what_is_in_flight_waits_for_a_slow_consumer(on):
    """A sweep of many large fits must not fill the memory while one of them is written."""
    begun: list[int] = []
    tasks = {str(number): {"number": number} for number in range(50)}
    running = sweep(lambda number: begun.append(number), tasks, on)
    next(running)
    time.sleep(0.5)
    assert len(begun) <= 2 * on.count
    assert len(list(running)) == 49
    assert sorted(begun) == list(range(50))


SWEEP = """
import sys, time
from pathlib import Path
from bayescale.core.executors import Shelf, Threads, sweep
from bayescale.core.files import atomic_write

folder, stops_at = Path(sys.argv[1]), int(sys.argv[2])

def square(number):
    with (folder / "begun").open("a") as begun:
        begun.write(f"{number} ")
    return number**2

def saved(result, path):
    with atomic_write(path) as temporary, temporary.open("w") as file:
        for digit in f"{result:05}":
            file.write(digit)
            file.flush()
            if result == stops_at**2:
                print("half written", flush=True)
                time.sleep(60)

shelf = Shelf(folder / "kept", ".txt", saved, lambda path: int(path.read_text()))
print(sorted(sweep(square, {str(number): {"number": number} for number in range(1, 30)}, Threads(1), shelf)))
"""


def sweeping(folder: Path, stops_at: int = 0) -> subprocess.Popen[str]:
    """Begin a sweep of 29 tasks in a process of its own, which stops while it writes a result."""
    return subprocess.Popen([sys.executable, "-c", SWEEP, str(folder), str(stops_at)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


ALL = str(sorted((str(number), number**2) for number in range(1, 30))) + "\n"


def test_a_sweep_that_is_killed_while_it_writes_goes_on_from_its_folder(tmp_path):
    with sweeping(tmp_path, stops_at=7) as process:
        assert process.stdout.readline() == "half written\n"
        process.kill()
    with sweeping(tmp_path) as process:
        assert process.communicate(timeout=60) == (ALL, "")
    begun = (tmp_path / "begun").read_text().split()
    assert [begun.count(str(number)) for number in range(1, 7)] == [1] * 6  # what was kept is not made again
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {f"{number}.txt" for number in range(1, 30)}


def test_two_processes_that_sweep_one_folder_at_once_do_not_hurt_each_other(tmp_path):
    with sweeping(tmp_path) as one, sweeping(tmp_path) as other:
        assert one.communicate(timeout=60) == other.communicate(timeout=60) == (ALL, "")
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {f"{number}.txt" for number in range(1, 30)}


def test_results_are_kept_as_they_come(marks, tmp_path):
    shelf = shelf_in(tmp_path / "kept")
    running = sweep(square, tasks_in(marks, range(3)), Threads(1), shelf)
    name, _ = next(running)
    assert shelf.path(name).is_file()
    running.close()  # as an interrupt would
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_cluster_of_two_workers_one_killed_finishes_every_task(marks):
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        found = dict(sweep(square, tasks_in(marks, range(7)), Dask(cluster.scheduler_address)))
    assert isinstance(found.pop("5"), ValueError)
    lost = found.pop("6")
    assert isinstance(lost, FitError)  # and no error of Dask's, which would end the batch
    assert "worker process died" in str(lost)
    assert found == {str(number): number**2 for number in range(5)}
    assert (marks / "begun-3-1").exists()  # its worker died, and another did it


@pytest.fixture(scope="module")
def tables(chinchilla: bs.Runs) -> dict[str, bs.Runs]:
    half = chinchilla["flops"] < 1e20
    return {"cheap runs": chinchilla.take(half), "dear/runs": chinchilla.take(~half)}


@pytest.fixture(scope="module")
def kept(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    return folder, bs.fit_many(tables, "additive", workers=2, folder=folder, **SETTINGS)


@pytest.fixture(scope="module", params=["one thread", "two threads", "Dask"])
def elsewhere(request, tables):
    """The same fits on another number of threads, and on a cluster in this process."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "Dask":
            with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
                return bs.fit_many(tables, "additive", scheduler=cluster.scheduler_address, **SETTINGS)
        count = 1 if request.param == "one thread" else 2
        patch.setattr("bayescale.inference.batch.engine", lambda *_: Threads(count))
        return bs.fit_many(tables, "additive", **SETTINGS)


@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # 200 draws are few
def test_draws_do_not_depend_on_where_they_are_made(elsewhere, kept):
    """Every number of every draw, and not only means: nothing that depends on the place enters a fit."""
    for name, fit in kept[1].fits.items():
        xr.testing.assert_equal(fit.posterior, elsewhere.fits[name].posterior)
        xr.testing.assert_equal(
            fit.tree["sample_stats"].to_dataset(), elsewhere.fits[name].tree["sample_stats"].to_dataset()
        )


ON_ONE_CORE = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import sys, warnings
import bayescale as bs
warnings.simplefilter("ignore", bs.ConvergenceWarning)  # 200 draws are few
runs = bs.load_runs("hoffmann2022")
half = runs["flops"] < 1e20
tables = {"cheap runs": runs.take(half), "dear/runs": runs.take(~half)}
bs.fit_many(tables, "additive", folder=sys.argv[1], chains=2, draws=200, warmup=100, seed=5, progress=False)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to a core")
def test_draws_do_not_depend_on_the_number_of_cores(kept, tmp_path):
    subprocess.run([sys.executable, "-c", ON_ONE_CORE, str(tmp_path)], check=True)
    for path in sorted(kept[0].iterdir()):
        xr.testing.assert_equal(bs.load_fit(tmp_path / path.name).posterior, bs.load_fit(path).posterior)


def test_draws_do_not_depend_on_how_many_chains_run_at_once(tables):
    task = SETTINGS | {"runs": tables["cheap runs"], "spec": "additive", "device": "cpu", "stages": Stages()}
    del task["progress"]
    one, two = (sampled(**task, threads=threads) for threads in (1, 2))
    xr.testing.assert_equal(one.posterior, two.posterior)


@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # 200 draws are few
def test_a_batch_goes_on_from_its_folder_and_refuses_another_s(tables, kept, monkeypatch):
    folder, made = kept
    assert [path.name for path in sorted(folder.iterdir())] == ["cheap runs.nc", "dear%2Fruns.nc"]
    monkeypatch.setattr("bayescale.inference.batch.sampled", None)  # nothing is left to sample
    again = bs.fit_many(tables, "additive", folder=folder, **SETTINGS)
    for name, fit in again.fits.items():
        xr.testing.assert_identical(fit.posterior, made.fits[name].posterior)
    with pytest.raises(FitError, match="the folder holds another fit 'cheap runs'"):
        bs.fit_many(tables, "additive", folder=folder, **(SETTINGS | {"seed": 6}))


@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # 200 draws are few
def test_a_batch_holds_no_fit_that_its_folder_holds(tables, kept):
    seen: dict[str, weakref.ref] = {}
    batch = bs.fit_many(
        tables, "additive", folder=kept[0], made=lambda name, fit: seen.update({name: weakref.ref(fit)}), **SETTINGS
    )
    gc.collect()
    assert {name: one() for name, one in seen.items()} == dict.fromkeys(tables)
    assert list(batch.fits) == list(tables)
    assert batch.verdicts == {name: fit.verdict for name, fit in batch.fits.items()}
    asked = weakref.ref(batch.fits["cheap runs"])
    gc.collect()
    assert asked() is None


@pytest.mark.parametrize(
    ("workers", "scheduler", "said"), [(0, None, "workers is too small"), (2, "tcp://a:1", "one of the two")]
)
def test_engines_that_cannot_be_are_refused(workers, scheduler, said):
    with pytest.raises(FitError, match=said):
        engine(workers, scheduler)


def test_a_scheduler_that_does_not_answer_is_named():
    with pytest.raises(FitError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(sweep(square, {"1": {}}, Dask("tcp://127.0.0.1:9", patience_s=1)))


def test_a_task_whose_name_no_file_can_have_is_an_error_of_the_folder(tmp_path):
    with pytest.raises(FitError, match=r"cannot keep results in (?s:.*)choose a shorter name"):
        dict(sweep(square, {"a" * 300: {}}, Threads(1), shelf_in(tmp_path / "kept")))
