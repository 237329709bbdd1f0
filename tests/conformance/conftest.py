"""Two servers that get the same calls: a real MLflow, and the store under test.

`--store` says what is tested: `demo` (a `tracegate demo` with its own store, the default), `devserver:PROGRAM`
(a store without a gateway before it), `mlflow` (another MLflow: no difference may be found) or the URL of
something that runs. `--mlflow-url` saves the start of the MLflow, with `--report` all differences are kept.
"""

import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]

import mirror as mirrors  # noqa: E402
from harness import processes, wire  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--store", default="demo", help="demo, devserver:PROGRAM, mlflow, or a URL")
    parser.addoption("--mlflow-url", help="a running MLflow 3.17 to compare with; it keeps what is written")
    parser.addoption("--report", help="write every difference that is not listed to this file")
    parser.addoption("--seeds", type=int, default=int(os.environ.get("CONFORMANCE_SEEDS", "6")), help="generated worlds")


def start_store(choice, directory, running):
    """The store under test as a server of a mirror."""
    if choice == "mlflow":
        second = processes.start_mlflow(directory / "second")
        running.append(second)
        return mirrors.Server("mlflow again", second.url)
    if choice.startswith("devserver:"):
        port = processes.free_port()
        url = f"http://127.0.0.1:{port}"
        place = directory / "store"
        place.mkdir()
        command = [choice.removeprefix("devserver:"), port, place / "data"]
        running.append(
            processes.start(
                "devserver", command, url, directory / "devserver.log", processes.clean_environment(), place,
                lambda: processes.answers(url + "/version") or listening(port), 60,
            )
        )
        return mirrors.Server("store", url)
    if choice == "demo":
        demo = processes.start_demo(directory, None)
        running.append(demo)
        return mirrors.Server("tracegate", demo.url, {"Authorization": wire.basic("admin", demo.details["tokens"]["admin"])})
    url, _, credential = choice.partition("#")
    return mirrors.Server("store", url, {"Authorization": wire.basic(*credential.split(":"))} if credential else {})


def listening(port):
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def both(request, tmp_path_factory):
    """The mirror for the whole session: what one test writes, the next may meet."""
    running = []
    directory = tmp_path_factory.mktemp("conformance")
    try:
        url = request.config.getoption("--mlflow-url")
        with ThreadPoolExecutor(1) as pool:
            store = pool.submit(start_store, request.config.getoption("--store"), directory, running)
            if not url:
                mlflow = processes.start_mlflow(directory / "mlflow")
                running.append(mlflow)
                url = mlflow.url
        first, second = mirrors.Server("mlflow", url), store.result()
        mirrors.align(first, second)
        yield mirrors.Mirror(first, second)
    finally:
        while running:
            running.pop().stop()


@pytest.fixture(scope="session")
def tag(request):
    """Part of all names, so that servers that keep what they were told can be used again."""
    return uuid.uuid4().hex[:6] if request.config.getoption("--mlflow-url") else "x"


@pytest.fixture
def m(both, request):
    """The mirror; the test fails if its calls met a difference that is not listed."""
    mark, calls = len(both.differences), both.calls
    yield both
    assert both.calls > calls, "the test compared nothing"
    found = both.since(mark)
    if report := request.config.getoption("--report"):
        with open(report, "a") as file:
            for difference in found:
                file.write(f"## {request.node.name}\n{difference.describe(1500)}\n\n")
    if found:
        kinds = {}
        for difference in found:
            kinds.setdefault((difference.operation, *sorted({path for path, _, _ in difference.places})), difference)
        said = "\n\n".join(difference.describe() for difference in list(kinds.values())[:12])
        pytest.fail(f"{len(found)} of {both.calls - calls} answers differ, in {len(kinds)} ways:\n\n{said}", pytrace=False)


@pytest.fixture
def elsewhere(m, tag, request):
    """Another one, for what MLflow keeps and the store refuses; nobody reads there."""
    return m.post("experiments/create", name=f"beside {request.node.name}-{tag}")["experiment_id"]


@pytest.fixture
def experiment(m, tag, request):
    """A fresh experiment of the test's own, on both."""
    return m.post("experiments/create", name=f"{request.node.name}-{tag}")["experiment_id"]
