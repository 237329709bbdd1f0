"""Puts the real servers and clients of `tests/clients/harness` within reach."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]


def pytest_configure(config):
    config.addinivalue_line("markers", "gate: as in tests/clients, of which some helpers come")
