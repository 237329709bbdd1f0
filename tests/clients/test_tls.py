"""TLS of our own under real clients: the SDK over https, certificates that change under load, and callers that
show a certificate."""

import datetime
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness import processes

pytestmark = pytest.mark.gate

AGENT = "spiffe://example.org/agent"


class Authority:
    """Signs certificates for a test."""

    def __init__(self, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, [], authority=True)

    def _sign(self, subject, key, names, authority=False, days=1):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def write(self, directory, stem, names, days=1):
        """`stem.pem` and `stem.key`; each takes its place at once."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, stem)])
        pem = self._sign(subject, key, names, days=days).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for path, content in [(directory / f"{stem}.pem", pem), (directory / f"{stem}.key", secret)]:
            path.with_suffix(".fresh").write_bytes(content)
            os.replace(path.with_suffix(".fresh"), path)
        return directory / f"{stem}.pem", directory / f"{stem}.key"

    def pem(self, path):
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path


LOOPBACK = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A gateway with a store of its own that speaks TLS, on the state that a demo made."""
    directory = tmp_path_factory.mktemp("tls")
    demo = processes.start_demo(directory, None)
    details = demo.details
    demo.stop()
    ours, clients = Authority("ours"), Authority("clients")
    certificate, key = ours.write(directory, "server", LOOPBACK)
    trusted = ours.pem(directory / "ours.pem")
    port = processes.free_port()
    url = f"https://127.0.0.1:{port}"

    def ready():
        try:
            return requests.get(url + "/healthz", verify=str(trusted), timeout=2).status_code == 200
        except requests.RequestException:
            return False

    gate = processes.start(
        "tracegate serve", [processes.tracegate_binary(), "serve"], url, directory / "serve.log",
        processes.clean_environment(
            TRACEGATE__SERVER__LISTEN=f"127.0.0.1:{port}",
            TRACEGATE__SERVER__DATA_DIR=str(directory / "data"),
            TRACEGATE__SERVER__TLS_CERTIFICATE=str(certificate),
            TRACEGATE__SERVER__TLS_KEY=str(key),
            TRACEGATE__SERVER__TLS_CLIENT_CA=str(clients.pem(directory / "clients.pem")),
            TRACEGATE__SERVER__TLS_RELOAD_SECONDS="1",
            TRACEGATE__IDENTITY__CERTIFICATES=f'[{{ uri = "{AGENT}", service_principal = "agent" }}]',
        ),
        directory, ready, 60,
    )
    yield SimpleNamespace(
        gate=gate, url=url, port=port, directory=directory, ours=ours, clients=clients, trusted=str(trusted),
        tokens=details["tokens"], experiments=details["experiments"],
    )
    gate.stop()


def served(secure):
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=secure.trusted)
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as stream:
            return x509.load_der_x509_certificate(stream.getpeercert(binary_form=True)).serial_number


SDK = """
import sys, mlflow
mlflow.set_experiment(experiment_id=sys.argv[1])
with mlflow.start_span("asked over https") as span:
    span.set_inputs({"question": "is it private?"})
mlflow.flush_trace_async_logging()
trace = mlflow.get_trace(span.trace_id)
assert trace.data.spans[0].name == "asked over https", trace
print(span.trace_id)
"""


def sdk(secure, **environment):
    return subprocess.run(
        [sys.executable, "-c", SDK, str(secure.experiments["support-bot"])],
        env=processes.clean_environment(
            MLFLOW_TRACKING_URI=secure.url, MLFLOW_TRACKING_TOKEN=secure.tokens["admin"],
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", **environment,
        ),
        capture_output=True, text=True, timeout=180,
    )


def test_the_sdk_writes_and_reads_over_https(secure):
    done = sdk(secure, MLFLOW_TRACKING_SERVER_CERT_PATH=secure.trusted)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("tr-"), done.stdout


def test_the_sdk_refuses_a_server_that_it_does_not_trust(secure):
    done = sdk(secure)
    assert done.returncode != 0 and "certificate" in done.stderr.lower(), done.stderr


def test_curl_speaks_http2(secure):
    done = subprocess.run(
        ["curl", "-sS", "--http2", "--cacert", secure.trusted, "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
         "-H", f"Authorization: Bearer {secure.tokens['admin']}",
         f"{secure.url}/api/2.0/mlflow/experiments/get?experiment_id={secure.experiments['support-bot']}"],
        capture_output=True, text=True, timeout=60,
    )
    assert done.stdout == "2 200", done.stdout + done.stderr


def test_certificates_rotate_under_load_and_no_request_fails(secure):
    target = f"{secure.url}/api/2.0/mlflow/experiments/get?experiment_id={secure.experiments['support-bot']}"
    headers = {"Authorization": f"Bearer {secure.tokens['admin']}"}
    over, failures, counts = threading.Event(), [], []

    def load(kept):
        session = requests.Session()
        # Settings of the machine would beat `verify`.
        session.trust_env, session.verify = False, secure.trusted
        count = 0
        while not over.is_set():
            try:
                more = {} if kept else {"Connection": "close"}
                answer = session.get(target, headers={**headers, **more}, timeout=30)
                if answer.status_code != 200:
                    failures.append(answer.status_code)
            except requests.RequestException as error:
                failures.append(repr(error))
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=load, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    seen = {served(secure)}
    try:
        for _ in range(3):
            before = served(secure)
            secure.ours.write(secure.directory, "server", LOOPBACK)
            processes.wait_until(lambda: served(secure) != before, 60, "the new certificate", secure.gate.alive)
            seen.add(served(secure))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(seen) == 4
    assert failures == [] and min(counts) > 0, (failures[:5], counts)


def test_a_hangup_rereads_at_once_and_does_not_end_it(secure):
    import signal

    before = served(secure)
    secure.ours.write(secure.directory, "server", LOOPBACK)
    os.kill(secure.gate.pid, signal.SIGHUP)
    processes.wait_until(lambda: served(secure) != before, 60, "the new certificate", secure.gate.alive)
    assert secure.gate.alive()


def ask(secure, certificate=None, **more):
    return requests.get(
        f"{secure.url}/api/2.0/mlflow/experiments/get?experiment_id={secure.experiments['support-bot']}",
        verify=secure.trusted, cert=certificate and tuple(map(str, certificate)), timeout=30, **more,
    )


def test_a_client_certificate_is_a_caller(secure):
    names = [x509.UniformResourceIdentifier(AGENT)]
    certificate = secure.clients.write(secure.directory, "agent", names)
    by_token = ask(secure, headers={"Authorization": f"Bearer {secure.tokens['agent']}"})
    by_certificate = ask(secure, certificate)
    assert by_certificate.status_code == by_token.status_code != 401, by_certificate.text
    assert ask(secure).status_code == 401
    assert ask(secure, certificate, headers={"Authorization": "Bearer nonsense"}).status_code == 401
    other = secure.clients.write(secure.directory, "other", [x509.UniformResourceIdentifier(AGENT + "x")])
    assert ask(secure, other).status_code == 401
    for signed in [
        Authority("clients").write(secure.directory, "forged", names),
        secure.clients.write(secure.directory, "expired", names, days=-1),
    ]:
        with pytest.raises(requests.RequestException):
            ask(secure, signed)
