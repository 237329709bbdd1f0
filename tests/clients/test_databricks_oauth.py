"""The unmodified databricks-sdk: OAuth with a secret, federation with another issuer's token, tokens, secrets."""

import base64
import contextlib
import functools
import http.server
import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config, DatabricksError

from harness import processes
from harness.caller import Caller

pytestmark = pytest.mark.gate

KEYS = Path(__file__).parents[1] / "fixtures" / "keys"
AUDIENCE = "tracegate-jobs"
SUBJECT = "repo:acme/agents:ref:refs/heads/main"


class KeysOnly(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def issuer():
    """A small issuer: it publishes its keys, and signs what a test asks it to."""
    handler = functools.partial(KeysOnly, directory=KEYS)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    key = serialization.load_pem_private_key((KEYS / "rsa-1.pem").read_bytes(), None)

    def encoded(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def sign(**claims):
        header = {"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}
        now = int(time.time())
        body = {"iss": url, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 600, **claims}
        message = ".".join(encoded(json.dumps(part).encode()) for part in (header, body))
        signature = key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{message}.{encoded(signature)}"

    yield SimpleNamespace(url=url, sign=sign)
    server.shutdown()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, issuer):
    """A gateway with a store of its own, the demo's callers, and a rule that trusts one job of the issuer."""
    directory = tmp_path_factory.mktemp("oauth")
    demo = processes.start_demo(directory, None)
    details = demo.details
    demo.stop()
    port = processes.free_port()
    config = directory / "oauth.toml"
    config.write_text(
        f"""
        [server]
        listen = "127.0.0.1:{port}"
        data_dir = "{directory}/data"

        [[identity.issuers]]
        issuer = "{issuer.url}"
        jwks_url = "{issuer.url}/jwks.json"

        [[identity.federation]]
        issuer = "{issuer.url}"
        audience = ["{AUDIENCE}"]
        subject = "{SUBJECT}"
        service_principal = "deployer"
        """
    )
    url = f"http://127.0.0.1:{port}"
    server = processes.start(
        "tracegate serve", [processes.tracegate_binary(), "serve", "--config", config], url, directory / "serve.log",
        processes.clean_environment(), directory, lambda: processes.answers(url + "/healthz"), 60,
    )
    server.tokens = details["tokens"]
    server.experiments = {name: str(number) for name, number in details["experiments"].items()}

    def own(method, path, body=None, who="admin"):
        headers = {"Authorization": f"Bearer {server.tokens[who]}"}
        answer = requests.request(method, f"{url}/api/tracegate/v1/{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    server.own = own
    for name in ("pipeline", "deployer"):
        own("POST", "principals", {"principal": f"service_principal:{name}"})
        grant = {
            "principal": f"service_principal:{name}",
            "securable": f"experiment:{server.experiments['support-bot']}",
            "privilege": "CAN_READ",
        }
        own("POST", "grants", grant)
    yield server
    server.stop()


@contextlib.contextmanager
def environment(**settings):
    """The SDK reads this process's environment, which must say nothing else."""
    kept = {key: value for key, value in os.environ.items() if key.startswith("DATABRICKS_")}
    for key in kept:
        del os.environ[key]
    os.environ.update(settings)
    try:
        yield
    finally:
        for key in settings:
            os.environ.pop(key, None)
        os.environ.update(kept)


def client(gateway, **how):
    with environment(DATABRICKS_CONFIG_FILE="/dev/null"):
        return WorkspaceClient(config=Config(host=gateway.url, retry_timeout_seconds=5, **how))


def by_token(gateway, who):
    return client(gateway, token=gateway.tokens[who], auth_type="pat")


def read(workspace, experiment):
    return workspace.experiments.get_experiment(experiment_id=experiment).experiment.experiment_id


@pytest.fixture
def admin(gateway):
    return by_token(gateway, "admin")


@pytest.fixture
def support_bot(gateway):
    return gateway.experiments["support-bot"]


@pytest.fixture
def secret_lab(gateway):
    return gateway.experiments["secret-lab"]


class TestClientCredentials:
    def test_a_secret_is_made_used_and_revoked_by_the_sdk_alone(self, gateway, admin, support_bot, secret_lab):
        made = admin.service_principal_secrets_proxy.create("pipeline", lifetime="3600s")
        assert made.status == "ACTIVE" and made.expire_time
        workspace = client(gateway, client_id="pipeline", client_secret=made.secret)
        assert workspace.config.auth_type == "oauth-m2m"
        assert read(workspace, support_bot) == support_bot
        with pytest.raises(DatabricksError) as refused:
            read(workspace, secret_lab)
        assert "experiment.view" in str(refused.value)
        listed = list(admin.service_principal_secrets_proxy.list("pipeline"))
        assert made.id in [secret.id for secret in listed]
        assert made.secret not in str(listed)

        admin.service_principal_secrets_proxy.delete("pipeline", made.id)
        with pytest.raises(DatabricksError) as ended:
            read(workspace, support_bot)
        assert "revoked" in str(ended.value)
        with pytest.raises(ValueError, match="invalid_client"):
            client(gateway, client_id="pipeline", client_secret=made.secret).config.authenticate()

    def test_two_secrets_are_good_at_once_so_that_they_can_be_rotated(self, gateway, admin, support_bot):
        old, new = (admin.service_principal_secrets_proxy.create("pipeline") for _ in range(2))
        for secret in (old, new):
            assert read(client(gateway, client_id="pipeline", client_secret=secret.secret), support_bot)
        workspace = client(gateway, client_id="pipeline", client_secret=new.secret)
        admin.service_principal_secrets_proxy.delete("pipeline", old.id)
        assert read(workspace, support_bot)

    def test_a_wrong_secret_and_an_unknown_client_look_alike(self, gateway, admin):
        secret = admin.service_principal_secrets_proxy.create("pipeline").secret
        said = set()
        for client_id, client_secret in [("pipeline", secret[:-1] + "x"), ("nobody", secret), ("deployer", secret)]:
            with pytest.raises(ValueError, match="invalid_client") as refused:
                client(gateway, client_id=client_id, client_secret=client_secret).config.authenticate()
            said.add(str(refused.value).split("(decision")[0])
        assert len(said) == 1

    def test_whoever_does_not_manage_identities_makes_no_secret(self, gateway):
        with pytest.raises(DatabricksError) as refused:
            by_token(gateway, "alice").service_principal_secrets_proxy.create("pipeline")
        assert "identity.manage" in str(refused.value)


class TestFederation:
    def test_a_job_calls_with_the_token_of_its_own_issuer(self, gateway, issuer, support_bot, secret_lab):
        with environment(DATABRICKS_CONFIG_FILE="/dev/null", DATABRICKS_OIDC_TOKEN=issuer.sign()):
            workspace = WorkspaceClient(config=Config(host=gateway.url, auth_type="env-oidc"))
            assert read(workspace, support_bot) == support_bot
            with pytest.raises(DatabricksError):
                read(workspace, secret_lab)
            named = WorkspaceClient(config=Config(host=gateway.url, auth_type="env-oidc", client_id="deployer"))
            assert read(named, support_bot) == support_bot

    def test_a_token_in_a_file(self, gateway, issuer, support_bot, tmp_path):
        file = tmp_path / "token"
        file.write_text(issuer.sign())
        workspace = client(gateway, auth_type="file-oidc", oidc_token_filepath=str(file))
        assert read(workspace, support_bot) == support_bot

    @pytest.mark.parametrize(
        "claims",
        [{"sub": "repo:acme/agents:ref:refs/heads/evil"}, {"aud": "other"}, {"exp": 1_700_000_000}, {"iss": "http://x"}],
        ids=["subject", "audience", "expired", "issuer"],
    )
    def test_another_token_is_refused_and_nobody_is_told_why(self, gateway, issuer, claims):
        settings = {"DATABRICKS_CONFIG_FILE": "/dev/null", "DATABRICKS_OIDC_TOKEN": issuer.sign(**claims)}
        with environment(**settings), pytest.raises(ValueError, match="invalid_grant") as refused:
            workspace = WorkspaceClient(config=Config(host=gateway.url, auth_type="env-oidc"))
            workspace.config.authenticate()
        assert "not one that is exchanged here" in str(refused.value)

    def test_the_jobs_own_token_is_no_credential_by_itself(self, gateway, issuer, support_bot):
        url = f"{gateway.url}/api/2.0/mlflow/experiments/get"
        answer = requests.get(
            url, params={"experiment_id": support_bot}, headers={"Authorization": f"Bearer {issuer.sign()}"}, timeout=30
        )
        assert answer.status_code == 401, answer.text


class TestTokens:
    def test_made_listed_used_and_deleted(self, gateway, support_bot):
        alice = by_token(gateway, "alice")
        made = alice.tokens.create(comment="laptop", lifetime_seconds=600)
        assert made.token_info.comment == "laptop" and made.token_info.expiry_time > time.time() * 1000
        workspace = client(gateway, token=made.token_value)
        assert read(workspace, support_bot) == support_bot
        assert made.token_info.token_id in [token.token_id for token in alice.tokens.list()]
        assert made.token_info.token_id not in [token.token_id for token in by_token(gateway, "bob").tokens.list()]
        alice.tokens.delete(made.token_info.token_id)
        assert made.token_info.token_id not in [token.token_id for token in alice.tokens.list()]
        with pytest.raises(DatabricksError):
            read(workspace, support_bot)

    def test_administrators_see_and_revoke_everybodys(self, gateway, admin, support_bot):
        made = by_token(gateway, "bob").tokens.create(comment="forgotten")
        token_id = made.token_info.token_id
        found = [token for token in admin.token_management.list(created_by_username="bob") if token.token_id == token_id]
        assert found and found[0].created_by_username == "bob" and found[0].comment == "forgotten"
        assert admin.token_management.get(token_id).token_info.token_id == token_id
        workspace = client(gateway, token=made.token_value)
        assert read(workspace, support_bot) == support_bot
        admin.token_management.delete(token_id)
        with pytest.raises(DatabricksError):
            read(workspace, support_bot)
        with pytest.raises(DatabricksError):
            list(by_token(gateway, "bob").token_management.list())

    def test_a_token_for_a_service_principal(self, gateway, admin, support_bot, secret_lab):
        made = admin.token_management.create_obo_token("pipeline", comment="for it", lifetime_seconds=600)
        workspace = client(gateway, token=made.token_value)
        assert read(workspace, support_bot) == support_bot
        with pytest.raises(DatabricksError):
            read(workspace, secret_lab)

    def test_tokens_of_the_token_endpoint_are_not_among_them(self, gateway, admin):
        secret = admin.service_principal_secrets_proxy.create("pipeline").secret
        workspace = client(gateway, client_id="pipeline", client_secret=secret)
        workspace.config.authenticate()
        assert all(token.comment != "access token" for token in workspace.tokens.list())
        assert all(token.comment != "access token" for token in admin.token_management.list())


class TestScopedTokens:
    def test_one_for_ingesting_logs_traces_into_one_experiment_and_does_nothing_else(
        self, gateway, support_bot, secret_lab, tmp_path
    ):
        """With MLflow's real SDK, and a token of somebody who may do everything."""
        body = {
            "name": "collector",
            "scopes": [{"privilege": "CAN_INGEST", "securable": f"experiment:{support_bot}"}],
        }
        token = gateway.own("POST", "tokens", body)["token"]
        settings = {"MLFLOW_TRACKING_URI": gateway.url, "MLFLOW_TRACKING_TOKEN": token}
        caller = Caller("admin", settings, "scenarios3", tmp_path / "scoped.log")
        try:
            trace = caller.run("write_trace", experiment_id=support_bot).value
            caller.run("get_trace", trace_id=trace).assert_refused("trace.read")
            foreign = caller.run("write_trace", experiment_id=secret_lab, text="must not be there")
            assert foreign.error or "403" in foreign.log or "PERMISSION_DENIED" in foreign.log, foreign.log
            assert caller.run("search_traces", experiment_ids=[secret_lab]).error
            caller.run("full_run", experiment_id=secret_lab).assert_refused()
        finally:
            caller.stop()
        found = requests.get(
            f"{gateway.url}/api/3.0/mlflow/traces/{trace}",
            headers={"Authorization": f"Bearer {gateway.tokens['admin']}"}, timeout=30,
        )
        assert found.status_code == 200, found.text
        narrow = client(gateway, token=token)
        for refused in (
            lambda: narrow.tokens.create(),
            lambda: list(narrow.tokens.list()),
            lambda: narrow.experiments.create_experiment("new"),
            lambda: list(narrow.token_management.list()),
        ):
            with pytest.raises(DatabricksError):
                refused()

    def test_the_command_line_makes_them(self, gateway, support_bot):
        import subprocess

        def run(*arguments):
            done = subprocess.run(
                [processes.tracegate_binary(), *arguments], capture_output=True, text=True, timeout=60,
                env=processes.clean_environment(TRACEGATE_URL=gateway.url, TRACEGATE_TOKEN=gateway.tokens["admin"]),
            )
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        token = run("token", "create", "--scope", f"CAN_READ@experiment:{support_bot}", "--ttl-days", "1")
        workspace = client(gateway, token=token)
        assert read(workspace, support_bot) == support_bot
        with pytest.raises(DatabricksError):
            list(workspace.tokens.list())
        secret = run("service-principal", "secret", "create", "pipeline", "--ttl-days", "1")
        assert read(client(gateway, client_id="pipeline", client_secret=secret), support_bot) == support_bot
        listed = json.loads(run("service-principal", "secret", "list", "pipeline", "--json"))["secrets"]
        run("service-principal", "secret", "revoke", "pipeline", listed[-1]["id"])
        with pytest.raises(ValueError, match="invalid_client"):
            client(gateway, client_id="pipeline", client_secret=secret).config.authenticate()


def test_discovery_makes_the_host_a_workspace(gateway):
    with environment(DATABRICKS_CONFIG_FILE="/dev/null"):
        config = Config(host=gateway.url, token=gateway.tokens["alice"])
    assert config.workspace_id == "0" and config.account_id
    assert config.discovery_url == f"{gateway.url}/oidc/.well-known/oauth-authorization-server"
    assert config.token_audience == AUDIENCE
    assert config.databricks_oidc_endpoints.token_endpoint == f"{gateway.url}/oidc/v1/token"
