"""Fixtures: one real MLflow, one `tracegate demo` before it, and a client process per caller.

What is marked with `both_modes` runs twice: against the gateway before the MLflow (`upstream`), and against
one that keeps traces itself (`embedded`); with `every_store` a third time, its own store in PostgreSQL
(`postgres`). The same must come of it.

With `--direct` the clients talk straight to MLflow and only the positive scenarios run: a
scenario that fails there is wrong in itself.
"""

import os
import sys
from types import SimpleNamespace

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness import postgres, processes  # noqa: E402
from harness.caller import Caller  # noqa: E402

CALLERS = ["admin", "alice", "bob", "agent", "erin", "lena", "dave", "carol"]


def pytest_addoption(parser):
    parser.addoption("--direct", action="store_true", help="talk straight to MLflow; positive scenarios only")


def pytest_configure(config):
    config.addinivalue_line("markers", "gate: says something about Tracegate, so it cannot run with --direct")
    config.addinivalue_line("markers", "both_modes: must come out the same before an MLflow and with Tracegate's own store")
    config.addinivalue_line("markers", "every_store: as both_modes, and with its own store in PostgreSQL too")


def pytest_generate_tests(metafunc):
    if "gate" in metafunc.fixturenames:
        modes = ["upstream"]
        if not metafunc.config.getoption("--direct"):
            if metafunc.definition.get_closest_marker("both_modes"):
                modes = ["upstream", "embedded"]
            if metafunc.definition.get_closest_marker("every_store"):
                modes = ["upstream", "embedded", "postgres"]
        # All tests name their mode, so that a gateway is shared by all of one mode.
        metafunc.parametrize("mode", modes, indirect=True, scope="session")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--direct"):
        for item in items:
            if item.get_closest_marker("gate"):
                item.add_marker(pytest.mark.skip(reason="--direct: there is no Tracegate in between"))


@pytest.fixture(scope="session")
def direct(request):
    return request.config.getoption("--direct")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    server = processes.start_mlflow(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory):
    server = postgres.start(tmp_path_factory.mktemp("postgres") / "server")
    yield server
    postgres.stop(server)


@pytest.fixture(scope="session")
def mode(request):
    return request.param


@pytest.fixture(scope="session")
def gate(request, direct, mode, tmp_path_factory):
    """Where clients connect to: `url`, `tokens`, `experiments`, `server` (None with --direct)."""
    mlflow_server = request.getfixturevalue("mlflow_server") if mode == "upstream" else None
    if direct:
        import requests

        def create(name):
            url = f"{mlflow_server.url}/api/2.0/mlflow/experiments/create"
            return requests.post(url, json={"name": name}, timeout=30).json()["experiment_id"]

        experiments = {name: create(name) for name in ("support-bot", "secret-lab")}
        yield SimpleNamespace(url=mlflow_server.url, tokens={}, experiments=experiments, server=None)
        return
    environment = {}
    if mode == "postgres":
        environment["TRACEGATE__DATABASE__URL"] = request.getfixturevalue("postgres_server").details["url"]
    upstream = mlflow_server.url if mlflow_server else None
    server = processes.start_demo(tmp_path_factory.mktemp("tracegate"), upstream, **environment)
    experiments = {name: str(number) for name, number in server.details["experiments"].items()}
    yield SimpleNamespace(url=server.url, tokens=server.details["tokens"], experiments=experiments, server=server)
    server.stop()


@pytest.fixture(scope="session")
def start_caller(gate, tmp_path_factory):
    """Starts a client process; `as_caller` keeps and shares them."""
    started = []
    logs = tmp_path_factory.mktemp("callers")

    def start(name, credential="basic", module="scenarios3", python=sys.executable, **environment):
        settings = {"MLFLOW_TRACKING_URI": gate.url, **environment}
        if name in gate.tokens and credential == "basic":
            settings |= {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": gate.tokens[name]}
        elif name in gate.tokens and credential == "bearer":
            settings |= {"MLFLOW_TRACKING_TOKEN": gate.tokens[name]}
        log = logs / f"{name}-{module}-{credential}-{len(started)}.log"
        caller = Caller(name, settings, module, log, python)
        started.append(caller)
        return caller

    yield start
    for caller in started:
        caller.stop()


@pytest.fixture(scope="session")
def as_caller(start_caller):
    kept = {}

    def get(name, **how):
        key = (name, *sorted(how.items()))
        if key not in kept:
            kept[key] = start_caller(name, **how)
        return kept[key]

    return get


@pytest.fixture(scope="session")
def as_mlflow2_caller(as_caller):
    """A caller whose client is MLflow 2.22, from the environment that `make` prepares."""
    python = os.environ.get("MLFLOW2_PYTHON")
    if not python:
        pytest.fail("MLFLOW2_PYTHON must name the Python of an MLflow 2.22 environment (make test sets it)")
    return lambda name: as_caller(name, module="scenarios2", python=python)


@pytest.fixture(scope="session")
def support_bot(gate):
    return gate.experiments["support-bot"]


@pytest.fixture(scope="session")
def secret_lab(gate):
    return gate.experiments["secret-lab"]


@pytest.fixture(scope="session")
def seeded(as_caller, support_bot, secret_lab):
    """One of each thing in the two experiments, made by those who may."""
    alice, dave = as_caller("alice"), as_caller("dave")
    trace = alice.run("write_trace", experiment_id=support_bot, text="seeded question", tags={"origin": "seed"}).value
    foreign = dave.run("write_trace", experiment_id=secret_lab, text="the secret formula").value
    return SimpleNamespace(
        trace=trace,
        feedback=alice.run("log_feedback", trace_id=trace).value["assessment_id"],
        run=alice.run("full_run", experiment_id=support_bot).value,
        model=alice.run("create_logged_model", experiment_id=support_bot, name="seeded").value,
        dataset=alice.run("create_dataset", experiment_id=support_bot, name="seeded").value,
        foreign_trace=foreign,
        foreign_feedback=dave.run("log_feedback", trace_id=foreign).value["assessment_id"],
        foreign_run=dave.run("full_run", experiment_id=secret_lab).value,
        foreign_model=dave.run("create_logged_model", experiment_id=secret_lab, name="secret").value,
        foreign_dataset=dave.run("create_dataset", experiment_id=secret_lab, name="secret").value,
    )
