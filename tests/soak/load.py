"""One client process under load: `load.py KIND SETTINGS`, where SETTINGS is JSON. Runs until SIGTERM.

The kinds are in `sdk_clients.py` and `http_clients.py`. Each process notes what it was answered in a ledger of
its own. When it has begun, it makes a file beside the ledger; what goes wrong in itself ends it with an error.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import ledger as ledgers


class Stop:
    """Set by SIGTERM; every loop asks it."""

    def __init__(self):
        self.event = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self.event.set())

    def __bool__(self):
        return self.event.is_set()

    def rest(self, seconds):
        self.event.wait(seconds)


class Context:
    """What a kind of client needs: settings, its ledger, and how to say what it expects."""

    def __init__(self, kind, settings):
        self.__dict__.update(settings)
        self.kind = kind
        self.stop = Stop()
        self.ledger_path = Path(settings["ledgers"]) / f"{kind}.ledger"
        self.ledger = ledgers.Ledger(self.ledger_path)

    def begun(self):
        self.ledger_path.with_suffix(".begun").touch()

    def expect(self, value, **details):
        ledgers.expected.value, ledgers.expected.details = value, details

    def recent_traces(self):
        """Traces that any process had acknowledged lately, of the experiment that all work on."""
        found = []
        for path in Path(self.ledgers).glob("*.ledger"):
            with path.open("rb") as lines:
                lines.seek(max(0, path.stat().st_size - 20_000))
                for line in lines.read().split(b"\n")[1:]:
                    if b'"what": "trace"' in line and line.endswith(b"}"):
                        fact = json.loads(line)
                        if fact["experiment"] == self.experiments["support-bot"]:
                            found.append(fact["trace"])
        return found


def forever(context, steps, rest):
    """One step after the other until the stop. What a library raises is the ledger's business, not ours: it has
    the answers."""
    while not context.stop:
        for expectation, step in steps:
            if context.stop:
                return
            context.expect(expectation)
            try:
                step()
            except AssertionError:
                raise
            except Exception as error:  # noqa: BLE001 - refusals and outages, as the client's library raises them
                context.ledger.write("raised", who=context.kind, error=type(error).__name__, text=str(error)[:300], at=time.monotonic())
            context.stop.rest(rest)


def main():
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    context = Context(kind, settings)
    try:
        if kind.startswith("sdk-"):
            import sdk_clients as module
        else:
            import http_clients as module
        ledgers.watch(context.ledger, kind)
        module.KINDS[kind](context)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    # Libraries' threads and exit handlers may go on retrying for a minute.
    os._exit(0)


if __name__ == "__main__":
    main()
