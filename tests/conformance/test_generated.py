"""Random worlds: a few in `make test`, as many as `CONFORMANCE_SEEDS` says in `make prove`."""

import os

from generate import play


def pytest_generate_tests(metafunc):
    first = int(os.environ.get("CONFORMANCE_FIRST_SEED", "1"))
    metafunc.parametrize("seed", range(first, first + metafunc.config.getoption("--seeds")))


def test_a_random_world(m, tag, seed):
    play(m, seed, tag, calls=150)
