"""Callers: who runs a scenario, and how what came of it is judged."""

import json
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path

from .processes import clean_environment

WORKER = Path(__file__).with_name("worker.py")
DECISION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Outcome:
    """A scenario's value or error, and what the SDK logged meanwhile."""

    def __init__(self, who, scenario, answer, log):
        self.who = who
        self.scenario = scenario
        self.error = answer.get("error")
        self._value = answer.get("value")
        self.log = log

    @property
    def value(self):
        assert self.error is None, (
            f"{self.who} should have been allowed {self.scenario}: "
            f"{self.error['error_code']}: {self.error['message']}\n{self.error['traceback']}"
        )
        return self._value

    def assert_refused(self, *privileges, code="PERMISSION_DENIED"):
        """A clean MLflow exception that says what is missing and which decision it was."""
        assert self.error is not None, f"{self.who} got {self._value!r} from {self.scenario}; it should have been refused"
        if self.error["type"] == "requests.exceptions.HTTPError":
            # MLflow's artifact client raises the HTTP error itself, with our answer in its text.
            assert f'"error_code":"{code}"' in self.error["message"], self.error
        else:
            assert self.error["type"] in (
                "mlflow.exceptions.MlflowException",
                "mlflow.exceptions.RestException",
            ), self.error["traceback"]
            assert self.error["error_code"] == code, self.error
        self._assert_says(self.error["message"], privileges)

    def assert_refusal_logged(self, *privileges):
        """For what the SDK sends in the background: no exception, but a log line that says why."""
        assert self.error is None, self.error
        assert "PERMISSION_DENIED" in self.log or "403" in self.log, f"nothing logged about a refusal:\n{self.log}"
        self._assert_says(self.log, privileges)

    def assert_export_refused(self, *privileges):
        """A plain exporter logs the status line only: it says what is missing."""
        assert self.error is None, self.error
        named = [name for name in privileges if f"`{name}`" in self.log]
        assert "403" in self.log and named, f"should name {' or '.join(privileges)}: {self.log}"

    def _assert_says(self, text, privileges):
        if privileges:
            named = [name for name in privileges if f"`{name}`" in text]
            assert named, f"should name {' or '.join(privileges)}: {text}"
        assert DECISION_ID.search(text), f"no decision id in: {text}"


class Caller:
    """One client process, kept for the session; scenarios run in it one after the other."""

    def __init__(self, name, environment, module, log, python=sys.executable):
        self.name = name
        self.log = log
        self._errors = log.open("wb")
        self._process = subprocess.Popen(
            [python, str(WORKER), module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True, bufsize=1, env=clean_environment(**environment), cwd=log.parent,
        )
        self._answers = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def run(self, scenario, seconds=120, **arguments):
        seen = self.log.stat().st_size
        self._process.stdin.write(json.dumps({"scenario": scenario, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise AssertionError(f"{self.name}: {scenario} hung for {seconds} s\n{self._logged(seen)}") from None
        if answer is None:
            raise AssertionError(f"{self.name}: the client process ended in {scenario}\n{self._logged(seen)}")
        return Outcome(self.name, scenario, answer, self._logged(seen))

    def _logged(self, since):
        return self.log.read_bytes()[since:].decode(errors="replace")

    def stop(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        self._errors.close()
