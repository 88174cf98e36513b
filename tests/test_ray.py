"""Workers on a real Ray cluster of this machine, where Ray is installed: a node is removed, and its worker goes on on another."""

import os
import sys

import pytest
from toys import until

from tombola import cli
from tombola.core.errors import TombolaError
from tombola.engine.configuring import resolve
from tombola.engine.runners import workers
from tombola.engine.runners.on_ray import Ray
from tombola.engine.runners.starting import work_arguments
from tombola.store.store import Store

pytestmark = pytest.mark.usefixtures("optimized")

OPTIONS = {"scale": "smoke", "task": "digits-mlp", "replicates": 2, "sweep": [], "load": []}
SETTINGS = ["levels=2", "steps=3000it", "evaluate_every=500it"]
# Ray takes 127.0.0.1 for "this node", and looks for the address that others see.
HERE = {"_node_ip_address": "127.0.0.2"}


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "127.0.0.1:port"])
def test_a_cluster_that_does_not_answer_is_one_line(address, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(TombolaError, match=rf"--ray '{address}': no cluster answers there .* give HOST:PORT of its head") as error:
        Ray(["work"], 1, tmp_path, address)
    assert "\n" not in str(error.value)


def test_without_ray_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TombolaError, match=r"pip install 'tombola\[ray\]'"):
        Ray(["work"], 1, tmp_path, "auto")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of Ray
def test_workers_of_which_one_loses_its_node_end_in_the_table_of_one_process(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else its workers wait for whatever else this machine does
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.2"})
    nodes = [cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2") for _ in range(2)]
    settings = [f"--set={one}" for one in SETTINGS]
    store = Store(tmp_path / "runs")
    study = resolve("frankle2019.sparsity", scale="smoke", task="digits-mlp", replicates=2, settings=SETTINGS)
    arguments = work_arguments(["frankle2019.sparsity"], 2, store.folder, None, {**OPTIONS, "settings": SETTINGS})
    try:
        started = Ray(arguments, 2, tmp_path / "logs", cluster.address, **HERE)
        until(lambda: len(set(store.files.holders(store.files.work().claimed).values())) == 2, 180)
        cluster.remove_node(nodes[0], allow_graceful=False)
        monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.5)
        workers.follow(started, study, store)
    finally:
        ray.shutdown()
        cluster.shutdown()
    tables = []
    for name in ("runs", "alone"):
        options = ["--scale=smoke", "--task=digits-mlp", "--replicates=2", *settings, f"--store={tmp_path / name}"]
        assert cli.main(["run", "frankle2019.sparsity", *options, "-o", str(tmp_path / f"report of {name}")]) == 0
        tables.append((tmp_path / f"report of {name}" / "frankle2019.sparsity" / "table.csv").read_bytes())
    assert tables[0] == tables[1]
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
