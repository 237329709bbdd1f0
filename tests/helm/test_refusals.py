"""Values that are refused, and why."""

import chart
import pytest

DATABASE = {"secrets": {"database": {"name": "db"}}}
MLFLOW = {"mlflow": {"url": "http://mlflow:5000"}}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        # More than one replica, and SQLite.
        ({"replicaCount": 2}, "/secrets/database/name"),
        ({"replicaCount": 2, "autoscaling": {"enabled": False}}, "/secrets/database/name"),
        ({"autoscaling": {"enabled": True}}, "/secrets/database/name"),
        ({"autoscaling": {"enabled": True, "maxReplicas": 1, "minReplicas": 1}}, "/secrets/database/name"),
        # More than one, each with artifacts that the others do not see.
        ({"replicaCount": 2, **DATABASE}, "config.mlflow.artifacts"),
        ({"replicaCount": 2, **DATABASE, "config": {**MLFLOW, "audit": {"replica": "one"}}}, "config.audit.replica"),
        ({"replicaCount": 0}, "/replicaCount"),
        # What nobody knows.
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
        ({"image": {"name": "x"}}, "additional properties 'name' not allowed"),
        ({"config": {"server": {"listn": "0.0.0.0:1"}}}, "additional properties 'listn' not allowed"),
        ({"config": {"servers": {}}}, "additional properties 'servers' not allowed"),
        ({"config": {"lake": {"on": True}}}, "additional properties 'on' not allowed"),
        ({"config": {"limits": {"otlp_spans": "many"}}}, "/config/limits/otlp_spans"),
        ({"config": {"limits": {"otlp_spans": 1.5}}}, "/config/limits/otlp_spans"),
        ({"config": {"identity": {"issuers": [{"audience": ["x"]}]}}}, "missing property 'issuer'"),
        # A secret among the values.
        ({"config": {"mlflow": {"password": "hunter2"}}}, "additional properties 'password' not allowed"),
        ({"config": {"mlflow": {"token": "hunter2"}}}, "additional properties 'token' not allowed"),
        ({"config": {"database": {"url": "postgres://a:b@db/t"}}}, "additional properties 'url' not allowed"),
        (
            {"config": {"identity": {"issuers": [{"issuer": "https://i", "hs256_secret": "x" * 32}]}}},
            "additional properties 'hs256_secret' not allowed",
        ),
        (
            {"config": {"identity": {"issuers": [{"issuer": "https://i", "client_secret": "x"}]}}},
            "additional properties 'client_secret' not allowed",
        ),
        ({"config": {"mlflow": {"url": "https://user:hunter2@mlflow"}}}, "/config/mlflow/url"),
        ({"config": {"audit": {"checkpoint_mirror": "https://user:hunter2@m/"}}}, "/config/audit/checkpoint_mirror"),
        ({"config": {"telemetry": {"otlp_endpoint": "https://user@c:4318"}}}, "/config/telemetry/otlp_endpoint"),
        ({"extraEnv": [{"name": "TRACEGATE__DATABASE__URL", "value": "postgres://a:b@db/t"}]}, "/extraEnv/0/name"),
        ({"extraEnv": [{"name": "TRACEGATE_TOKEN", "value": "x"}]}, "/extraEnv/0/name"),
        ({"extraEnv": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}]}, "/extraEnv/0"),
        ({"extraEnv": [{"name": "Proxy_Password", "value": "x"}]}, "/extraEnv/0"),
        # More rights than it needs.
        ({"securityContext": {"privileged": True}}, "additional properties 'privileged' not allowed"),
        ({"securityContext": {"allowPrivilegeEscalation": True}}, "/securityContext/allowPrivilegeEscalation"),
        ({"securityContext": {"readOnlyRootFilesystem": False}}, "/securityContext/readOnlyRootFilesystem"),
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "additional properties 'add' not allowed"),
        ({"securityContext": {"capabilities": {"drop": []}}}, "/securityContext/capabilities/drop"),
        ({"securityContext": {"capabilities": None}}, "missing property 'capabilities'"),
        ({"podSecurityContext": {"runAsUser": 0}}, "/podSecurityContext/runAsUser"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "/podSecurityContext/runAsNonRoot"),
        ({"podSecurityContext": {"runAsNonRoot": None}}, "missing property 'runAsNonRoot'"),
        ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "/podSecurityContext/seccompProfile/type"),
        ({"extraVolumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "/extraVolumes/0"),
        ({"extraVolumes": [{"name": "data", "emptyDir": {}}]}, "/extraVolumes/0/name"),
        # Where nobody could call it, or the volume would hide something.
        ({"config": {"server": {"listen": "127.0.0.1:5001"}}}, "/config/server/listen"),
        ({"config": {"server": {"listen": "0.0.0.0:0"}}}, "/config/server/listen"),
        ({"config": {"server": {"listen": None}}}, "missing property 'listen'"),
        ({"config": {"server": {"data_dir": "data"}}}, "/config/server/data_dir"),
        ({"config": {"server": {"data_dir": "/etc/tracegate"}}}, "/config/server/data_dir"),
        ({"config": {"server": {"data_dir": "/data/../etc"}}}, "/config/server/data_dir"),
        # Something that would come out as something else in TOML.
        ({"config": {"mlflow": {"host_header": 'a"\n[policy]\nmax_staleness_ms = 1'}}}, "/config/mlflow/host_header"),
        ({"config": {"mlflow": {"host_header": "a\x7f"}}}, "/config/mlflow/host_header"),
        # Two sources for one thing, or one for none.
        (
            {"secrets": {"mlflowPassword": {"name": "s"}}, "config": {"mlflow": {"url": "http://m", "password_file": "/x"}}},
            "exclude each other",
        ),
        (
            {"secrets": {"mlflowToken": {"name": "s"}}, "config": {"mlflow": {"url": "http://m", "token_file": "/x"}}},
            "exclude each other",
        ),
        ({"secrets": {"signingKey": {"name": "s"}}, "config": {"audit": {"signing_key_file": "/x"}}}, "exclude each other"),
        ({"secrets": {"issuers": {"https://i/": {"clientSecret": {"name": "s", "key": "k"}}}}}, "has no such issuer"),
        ({"secrets": {"issuers": {"https://i/": {"clientSecret": {"name": "", "key": "k"}}}}}, "/clientSecret/name"),
        (
            {
                "secrets": {"issuers": {"https://i": {"clientSecret": {"name": "s", "key": "k"}}}},
                "config": {"identity": {"issuers": [{"issuer": "https://i", "client_secret_file": "/x"}]}},
            },
            "exclude each other",
        ),
        # A certificate from two places; client certificates without TLS; probes that could not be answered.
        ({"secrets": {"tls": {"name": "t"}}, "config": {"server": {"tls_certificate": "/x", "tls_key": "/y"}}}, "exclude each other"),
        (
            {
                "secrets": {"tls": {"name": "t"}, "tlsClientCa": {"name": "c"}},
                "config": {"server": {"tls_client_ca": "/x"}},
            },
            "exclude each other",
        ),
        ({"secrets": {"tlsClientCa": {"name": "c"}}}, "needs `secrets.tls`"),
        (
            {
                "secrets": {"tls": {"name": "t"}, "tlsClientCa": {"name": "c"}},
                "config": {"server": {"tls_client_required": True, "health_listen": None}},
            },
            "needs `config.server.health_listen`",
        ),
        ({"config": {"server": {"health_listen": "0.0.0.0:5001"}}}, "needs another port"),
        ({"config": {"server": {"health_listen": "127.0.0.1:5002"}}}, "/config/server/health_listen"),
        ({"networkPolicy": {"ingress": {"monitoring": [""]}}}, "/networkPolicy/ingress/monitoring/0"),
        ({"migrations": {"enabled": "yes"}}, "/migrations/enabled"),
        # An empty selector would close every pod of the namespace.
        ({"networkPolicy": {"mlflow": {"podSelector": {"matchLabels": {}}}}, "config": MLFLOW}, "/podSelector/matchLabels"),
        ({"networkPolicy": {"mlflow": {"podSelector": {"matchLabels": {"app": "mlflow"}}}}}, "no server"),
        # An empty peer would be everybody.
        ({"networkPolicy": {"ingress": {"from": [{}]}}}, "/networkPolicy/ingress/from/0"),
        ({"networkPolicy": {"ingress": {"namespaces": [""]}}}, "/networkPolicy/ingress/namespaces/0"),
        # Labels by which the chart finds its own.
        ({"podLabels": {"app.kubernetes.io/name": "other"}}, "/podLabels"),
        ({"commonLabels": {"app.kubernetes.io/instance": "other"}}, "/commonLabels"),
        ({"ingress": {"enabled": True}}, "/ingress/hosts"),
        ({"httpRoute": {"enabled": True}}, "/httpRoute/parentRefs"),
        ({"image": {"repository": ""}}, "/image/repository"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        # A replica that comes back without its record does not start.
        ({"persistence": {"retention": {"whenScaled": "Delete"}}}, "/persistence/retention/whenScaled"),
        ({"persistence": {"size": "0"}}, "/persistence/size"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "/podDisruptionBudget/maxUnavailable"),
    ],
)
def test_refused(values, why):
    assert why in chart.refused(values)


def test_an_old_kubernetes_is_refused():
    done = chart.helm("template", values="minimal", kubernetes="1.29.9")
    assert done.returncode != 0 and "kubeVersion" in done.stderr
