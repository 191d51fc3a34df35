"""Real Ray clusters on this machine; what cannot run here is skipped with its reason."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

#: A cluster in a process of its own: Ray stays out of the process that runs the tests.
CLUSTER = """
    import json, sys, time
    from ray.cluster_utils import Cluster
    quiet = {"include_dashboard": False, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **quiet})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(int(sys.argv[1]))]
    print(json.dumps(cluster.address), flush=True)
    for line in sys.stdin:
        if line.startswith("remove"):
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        if line.startswith("add"):
            nodes.append(cluster.add_node(num_cpus=2))
        print(json.dumps(len(nodes)), flush=True)
    cluster.shutdown()
"""


class Cluster:
    """A head of two processors, and further nodes that can be lost and added."""

    def __init__(self, n_nodes: int) -> None:
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        code = "\n".join(line.removeprefix("    ") for line in CLUSTER.splitlines())
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(n_nodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.address = self._answer()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith(('"', *"0123456789")):
                return json.loads(line)
        raise AssertionError("The cluster did not start.")

    def order(self, word: str) -> None:
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        self._answer()

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@contextmanager
def cluster_of(n_nodes: int):
    cluster = Cluster(n_nodes)
    try:
        yield cluster
    finally:
        cluster.end()


def pytest_collection_modifyitems(items):
    try:
        import ray  # noqa: F401
    except ImportError:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="ray is not installed"))


@pytest.fixture(scope="module")
def cluster():
    """A head and one more node."""
    with cluster_of(1) as cluster:
        yield cluster
