"""Two real processes on this machine train one flow; one of them may be lost."""

import json
import signal
import socket
import time
from pathlib import Path

import pytest
from tests import tiny
from tests.processes import PATIENCE, Python, mflows

from mflows.training.checkpoint import checkpoint_path

OPTIONS = (*tiny.AMBIENT, "--precision", "float64", "--epochs", "30")  # time enough to be killed
ONE_DEVICE = {"jax_num_cpu_devices": 1}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pair(table: Path, out: Path, *more: str) -> list[Python]:
    """Two processes of ``mflows fit --distributed``."""
    fit = ("fit", *(() if "--resume" in more else (table, *OPTIONS)), "--out", out, *more)
    where = ("--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2)
    return [
        mflows(*fit, "--distributed", *where, "--process", process, config=ONE_DEVICE)
        for process in (0, 1)
    ]


def ended(processes: list[Python]) -> list[tuple[int | None, str, str]]:
    said = [process.communicate() for process in processes]
    return [(p.returncode, *texts) for p, texts in zip(processes, said, strict=True)]


def curve(folder: Path) -> list[tuple]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [(row["phase"], row["epoch"], row["train"], row["validation"]) for row in rows]


def assert_same(first: list[tuple], second: list[tuple]) -> None:
    assert [row[:2] for row in first] == [row[:2] for row in second]
    for one, other in zip(first, second, strict=True):
        assert one[2:] == pytest.approx(other[2:], rel=1e-6)


@pytest.fixture(scope="module")
def alone(command, table, tmp_path_factory):
    """The curve of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    result = command("fit", table, "--out", out, *OPTIONS)
    assert result.exit_code == 0, result.output
    return curve(out)


def await_checkpoint(out: Path, processes: list[Python], after: int = 0) -> int:
    """When the run wrote its next checkpoint, in nanoseconds."""
    latest, deadline = checkpoint_path(out), time.monotonic() + PATIENCE
    while not (latest.is_file() and (written := latest.stat().st_mtime_ns) > after):
        assert processes[0].poll() is None, processes[0].communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return written


def test_two_processes_train_as_one_and_a_lost_one_ends_the_other(table, tmp_path, alone):
    out, written = tmp_path / "run", 0
    # Neither is needed more than the other; JAX's own handling of SIGTERM would let it train on.
    for victim, number in ((1, signal.SIGTERM), (0, signal.SIGKILL)):
        processes = pair(table, out, *(("--resume",) if written else ()))
        written = await_checkpoint(out, processes, written)
        processes[victim].send_signal(number)
        found = ended(processes)
        assert found[victim][0] != 0
        status, _, errors = found[1 - victim]
        assert status != 0
        assert "Training stopped: another process was lost" in errors
        assert f"mflows fit --resume --out {out} --distributed" in errors
        assert not (out / "flow.json").is_file()

    (first, said, errors), (second, nothing, others) = ended(pair(table, out, "--resume"))
    assert first == 0, errors
    assert second == 0, others
    assert_same(curve(out), alone)
    assert "log_prob" in said
    assert "log_prob" not in nothing
    assert json.loads((out / "provenance.json").read_text())["status"] == "finished"


CLUSTERS = {
    "Open MPI": lambda port, process: {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(process),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(process),
        "JAX_COORDINATOR_PORT": str(port),
    },
    "Slurm": lambda port, process: {
        "SLURM_JOB_ID": "4242",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(process),
        "JAX_COORDINATOR_PORT": str(port),
    },
}
JOIN = """
from mflows.cli.distributed import join
count = join(None, None, None)
import jax
print(count, jax.process_index(), len(jax.devices()))
"""


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_variables_of_clusters_are_read(cluster):
    port = free_port()
    processes = [
        Python(JOIN, config=ONE_DEVICE, variables=CLUSTERS[cluster](port, i)) for i in (0, 1)
    ]
    (zero, first, errors), (one, second, others) = ended(processes)
    assert (zero, one) == (0, 0), errors + others
    assert (first.split(), second.split()) == (["2", "0", "2"], ["2", "1", "2"])


def test_without_a_cluster_a_process_has_all_devices_of_its_machine():
    ((status, said, errors),) = ended([Python(JOIN, config={"jax_num_cpu_devices": 3})])
    assert status == 0, errors
    assert said.split() == ["1", "0", "3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--distributed", "--processes", "2"),
            "--coordinator, --processes and --process together",
        ),
        (("--process", "0"), "Expected --distributed with --coordinator"),
    ],
)
def test_half_an_address_is_refused(command, table, tmp_path, options, message):
    result = command("fit", table, "--out", tmp_path / "run", *tiny.options(*options))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "run").exists()
