"""What is done to the cluster while it works. Each event leaves everything whole again, and says from when to when
it was and what it saw."""

import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from cryptography import x509
from cluster import SHUTDOWN_SECONDS
from harness import processes, wire

# Beyond what it may take, for a machine that has much else to do.
SLACK = 30
# Seconds in which the replicas learn of a key before it is used. They look each five.
KEY_OVERLAP = 6


class Chaos:
    def __init__(self, cluster, generator, hold):
        self.cluster, self.generator, self.hold = cluster, generator, hold
        self.happened, self.certificates, self.keys_rotated = [], 0, 0

    def run(self, event):
        began = time.monotonic()
        seen = getattr(self, event)() or {}
        self.happened.append({"event": event, "began": began, "ended": time.monotonic(), **seen})

    def _one(self):
        return self.generator.choice(self.cluster.replicas)

    # --- processes --------------------------------------------------------------------

    def rolling_restart(self):
        """Each is stopped by SIGTERM under load and started again, upgraded if it was of the version before."""
        seen = {"exit_codes": [], "stop_seconds": [], "in_flight_statuses": []}
        for replica in self.cluster.replicas:
            call = HalfSent(self.cluster, replica)
            began = time.monotonic()
            replica.server.process.send_signal(signal.SIGTERM)
            with ThreadPoolExecutor(1) as waiting:
                ended = waiting.submit(replica.server.process.wait, SHUTDOWN_SECONDS + SLACK)
                time.sleep(0.5)
                seen["in_flight_statuses"].append(call.finish())
                seen["exit_codes"].append(ended.result())
            seen["stop_seconds"].append(round(time.monotonic() - began, 2))
            replica.binary = processes.tracegate_binary()
            self.cluster.start(replica)
            self.cluster.wait_ready([replica])
        return seen

    def stop_with_a_call_that_hangs(self):
        """A call that its client never finishes does not keep a stop from ending."""
        replica = self._one()
        call = HalfSent(self.cluster, replica)
        began = time.monotonic()
        replica.server.process.send_signal(signal.SIGTERM)
        code = replica.server.process.wait(SHUTDOWN_SECONDS + SLACK)
        seconds = round(time.monotonic() - began, 2)
        call.drop()
        self.cluster.start(replica)
        self.cluster.wait_ready([replica])
        return {"replica": replica.name, "exit_codes": [code], "hanging_stop_seconds": seconds}

    def kill_one(self):
        replica = self._one()
        self.cluster.kill(replica)
        time.sleep(1)
        self.cluster.start(replica)
        self.cluster.wait_ready([replica])
        return {"replica": replica.name}

    def kill_all(self):
        for replica in self.cluster.replicas:
            self.cluster.kill(replica)
        for replica in self.cluster.replicas:
            self.cluster.start(replica)
        self.cluster.wait_ready()

    def freeze_one(self):
        """Longer than the staleness bound, so that what it knew is too old when it goes on."""
        replica = self._one()
        replica.server.signal_all(signal.SIGSTOP)
        time.sleep(self.hold)
        replica.server.signal_all(signal.SIGCONT)
        self.cluster.wait_ready([replica])
        return {"replica": replica.name}

    # --- the network ------------------------------------------------------------------

    def _cut(self, which, mode, replicas):
        for replica in replicas:
            getattr(replica, which).set(mode)
        time.sleep(self.hold)
        for replica in replicas:
            getattr(replica, which).set("pass")
        self.cluster.wait_ready(replicas)
        return {"mode": mode, "replicas": [replica.name for replica in replicas]}

    def cut_one_from_postgresql(self):
        return self._cut("database", "closed", [self._one()])

    def silence_one_from_postgresql(self):
        return self._cut("database", "silent", [self._one()])

    def cut_all_from_postgresql(self):
        return self._cut("database", self.generator.choice(["closed", "silent"]), self.cluster.replicas)

    def cut_one_from_mlflow(self):
        return self._cut("mlflow", self.generator.choice(["closed", "silent"]), [self._one()])

    def cut_all_from_mlflow(self):
        return self._cut("mlflow", "closed", self.cluster.replicas)

    def restart_postgresql(self):
        self.cluster.crash_database()
        self.cluster.wait_ready()

    # --- keys -------------------------------------------------------------------------

    def rotate_certificates(self):
        serial = self.cluster.rotate_certificate()
        processes.wait_until(
            lambda: all(self._served(replica) == serial for replica in self.cluster.replicas), 60, "the new certificate everywhere"
        )
        self.certificates += 1

    def _served(self, replica):
        context = ssl.create_default_context(cafile=self.cluster.trusted)
        with socket.create_connection(replica.address, timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=replica.address[0]) as stream:
                return x509.load_der_x509_certificate(stream.getpeercert(binary_form=True)).serial_number

    def rotate_keys(self):
        """One key of each purpose. What was made with the old ones stays good: tokens, page tokens, sessions."""
        if self.cluster.command("keys", "--help").returncode != 0:
            return {"skipped": "this binary has no `tracegate keys`"}
        done = self.cluster.command("keys", "rotate", "--all", "--overlap-seconds", KEY_OVERLAP, replica=self._one())
        if done.returncode != 0 and "is made already and takes over in" in done.stderr:
            return {"waits": "the keys of the last rotation have not taken over"}
        if done.returncode != 0 and "keys that are accepted, the most there can be" in done.stderr:
            # The oldest would have to be retired, and with it the tokens of those whom the soak counts.
            return {"full": "as many keys are accepted as there can be"}
        assert done.returncode == 0, done.stderr + done.stdout
        self.keys_rotated += 1
        return None


EVENTS = [
    "rolling_restart", "kill_one", "freeze_one", "stop_with_a_call_that_hangs", "cut_one_from_postgresql", "rotate_certificates", "rotate_keys",
    "silence_one_from_postgresql", "cut_one_from_mlflow", "restart_postgresql", "cut_all_from_postgresql",
    "cut_all_from_mlflow", "kill_all",
]


class HalfSent:
    """A call of which the replica has the head and half of the body when it is told to stop."""

    def __init__(self, cluster, replica):
        experiment = cluster.experiments["support-bot"]
        body = ('{"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "%s"}}]}' % experiment).encode()
        head = (
            f"POST /api/3.0/mlflow/traces/search HTTP/1.1\r\nHost: {replica.address[0]}\r\nContent-Type: application/json\r\n"
            f"Authorization: {wire.basic('bob', cluster.tokens['bob'])}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        context = ssl.create_default_context(cafile=cluster.trusted)
        plain = socket.create_connection(replica.address, timeout=20)
        self._stream = context.wrap_socket(plain, server_hostname=replica.address[0])
        self._rest = body[20:]
        self._stream.sendall(head + body[:20])
        # Until the gateway has taken it up: a connection that waits in the kernel is not in flight.
        time.sleep(0.3)

    def drop(self):
        self._stream.close()

    def finish(self):
        """The status that it is answered with, or 0."""
        received = b""
        try:
            self._stream.sendall(self._rest)
            while chunk := self._stream.recv(65536):
                received += chunk
        except OSError:
            pass
        finally:
            self._stream.close()
        return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else 0
