"""A real Slurm of this machine, started here where one is installed: an array of workers, one put back into the queue, one killed.

Debian's package `slurm-wlm` is enough, without munge; the daemons run as root, on the loopback.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from toys import until

from tombola import cli
from tombola.store.store import Store

pytestmark = [
    pytest.mark.skipif(
        shutil.which("slurmctld") is None or shutil.which("slurmd") is None or os.geteuid() != 0, reason="Slurm, as root, is not here"
    ),
    pytest.mark.slow,
    pytest.mark.usefixtures("optimized"),
]

CONFIGURATION = """
ClusterName=tombola
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes={host} Default=YES State=UP
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def asked(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster of one node with two cores."""
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    file = folder / "slurm.conf"
    file.write_text(CONFIGURATION.format(host=socket.gethostname(), ports=free_ports(2), folder=folder))
    monkeypatch.setenv("SLURM_CONF", str(file))
    daemons = [
        subprocess.Popen([name, "-D", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in ("slurmctld", "slurmd")
    ]
    try:
        until(lambda: "idle" in asked("sinfo", "--noheader", "--format=%t"), 60)
        yield folder
    finally:
        subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=30)
        until(lambda: not asked("squeue", "--noheader").strip(), 60)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def test_an_array_of_workers_of_which_one_is_requeued_and_one_killed_ends_in_the_table_of_one_process(cluster, tmp_path, capsys):
    study = tmp_path / "study.toml"
    lines = ['study = "frankle2019.sparsity"', 'scale = "smoke"', 'task = "digits-mlp"', "replicates = 2", "[set]", "levels = 2"]
    study.write_text("\n".join([*lines, 'steps = "6000it"', 'evaluate_every = "500it"', ""]))
    options, runs = [str(study), "--store", str(tmp_path / "runs")], tmp_path / "runs"
    assert cli.main(["submit", *options, "--slurm", "--array", "2", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)["job"]

    def holders():
        """Process -> runs that it is at."""
        files, found = Store(runs).files, {}
        for digest, holder in files.holders(files.work().claimed).items():
            found.setdefault(int(holder.split(":")[1]), set()).add(digest)
        return found

    def numbers():
        """Process -> number of its task in the array."""
        rows = [line.split() for line in asked("scontrol", "listpids").splitlines()]
        return {int(row[0]): row[1] for row in rows if row[0].isdecimal() and int(row[0]) in holders()}

    until(lambda: len(holders()) == 2)
    assert cli.main(["status", *options, "--json"]) == 0
    assert {int(name.split(":")[1]) for name in json.loads(capsys.readouterr().out)["workers"]} == holders().keys()
    tasks = until(lambda: found if len(found := numbers()) == 2 else None)
    (requeued, number), (killed, _) = tasks.items()
    began = time.monotonic()
    subprocess.run(["scontrol", "requeue", number], check=True, timeout=60)
    until(lambda: requeued not in holders(), 30)
    assert time.monotonic() - began < 15
    os.kill(killed, signal.SIGKILL)
    until(lambda: "PENDING" in asked("squeue", "--noheader", "--format=%T", f"--job={job}"), 60)
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], check=True, timeout=60)  # else it waits for minutes
    until(lambda: not asked("squeue", "--noheader", f"--job={job}").strip(), 300)
    said = "".join(path.read_text() for path in (runs / "logs").iterdir())
    assert "tombola: terminated; the same command goes on where this one stopped" in said
    assert "Traceback" not in said
    assert not list((runs / ".work").glob("*.claim"))
    tables = []
    for name, store in (("cluster", runs), ("alone", tmp_path / "alone")):
        assert cli.main(["run", str(study), "--store", str(store), "-o", str(tmp_path / name)]) == 0
        tables.append((tmp_path / name / "frankle2019.sparsity" / "table.csv").read_bytes())
        if name == "cluster":
            assert "training" not in capsys.readouterr().err  # nothing was left to do
    assert tables[0] == tables[1]
