"""Who may reach whom."""

import chart


def policy(rendered, name="tracegate"):
    return rendered.one("NetworkPolicy", name)["spec"]


def egress(spec):
    return {tuple(port["port"] for port in rule["ports"]): rule.get("to", "anywhere") for rule in spec["egress"]}


def namespace(name):
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def test_only_those_who_are_named_may_call():
    spec = policy(chart.objects("typical"))
    calls, metrics = spec["ingress"]
    assert calls["from"] == [{"podSelector": {}}, namespace("ingress-nginx"), namespace("applications")]
    assert calls["ports"] == [{"protocol": "TCP", "port": "http"}]
    # Prometheus reads metrics and calls nothing; who calls reads none.
    assert metrics == {"from": [namespace("monitoring")], "ports": [{"protocol": "TCP", "port": "health"}]}
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_nobody_named_means_nobody():
    # An empty list of peers in a rule is everybody: there must be no rule.
    spec = policy(chart.objects({"networkPolicy": {"ingress": {"sameNamespace": False}}}))
    assert spec["ingress"] == [] and "Ingress" in spec["policyTypes"]
    # Monitoring alone lets nobody else in.
    only = {"ingress": {"sameNamespace": False, "monitoring": ["m"]}}
    (rule,) = policy(chart.objects({"networkPolicy": only}))["ingress"]
    assert rule == {"from": [namespace("m")], "ports": [{"protocol": "TCP", "port": "health"}]}
    one_port = {"networkPolicy": only, "config": {"server": {"health_listen": None}}}
    (rule,) = policy(chart.objects(one_port))["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]


def test_only_tracegate_reaches_the_mlflow_server():
    rendered = chart.objects("typical")
    spec = policy(rendered, "tracegate-only-way-to-mlflow")
    assert spec["podSelector"] == {"matchLabels": {"app": "mlflow"}}
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    (peer,) = rule["from"]
    # Both in one peer: pods of Tracegate in its namespace. Two peers would be either.
    assert peer["namespaceSelector"] == namespace("mlops")["namespaceSelector"]
    labels = rendered.one("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"] and peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert rule["ports"] == [{"protocol": "TCP", "port": 5000}]


def test_the_mlflow_server_is_closed_in_its_own_namespace_and_on_its_pods_port():
    (found,) = [item for item in chart.objects("full") if item["metadata"]["name"] == "gate-only-way-to-mlflow"]
    assert found["metadata"]["namespace"] == "mlops"
    first, also = found["spec"]["ingress"]
    # Its Service listens on 80, its pods on 5000, and policies see pods.
    assert first["ports"] == [{"protocol": "TCP", "port": 5000}]
    assert also == {"from": [namespace("monitoring")]}


def test_the_mlflow_server_stays_closed_when_tracegate_goes():
    found = chart.objects("typical").one("NetworkPolicy", "tracegate-only-way-to-mlflow")
    assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_tracegate_goes_where_its_settings_send_it():
    assert egress(policy(chart.objects("minimal"))) == {(53, 53): "anywhere"}
    typical = egress(policy(chart.objects("typical")))
    assert set(typical) == {(53, 53), (5432,), (5000,), (443,)}
    assert typical[(5000,)] == [{**namespace("mlops"), "podSelector": {"matchLabels": {"app": "mlflow"}}}]
    full = egress(policy(chart.objects("full"), "gate"))
    # The receiver of telemetry, the issuer, the mirror.
    assert (4318, 443, 8443) in full and (6432,) in full and (3128,) in full
    # The cloud's own service for credentials is on nobody's way.
    assert full[(4318, 443, 8443)] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]


def test_ports_follow_from_urls():
    def port(url):
        return egress(policy(chart.objects({"config": {"mlflow": {"url": url}}})))

    assert (80,) in port("http://mlflow")
    assert (443,) in port("https://mlflow/base:9")
    assert (8080,) in port("https://[2001:db8::1]:8080/base")
    assert (443,) in port("https://[2001:db8::1]/base")


def test_an_issuer_that_is_never_asked_needs_no_way():
    def issuer(**more):
        settings = {"identity": {"issuers": [{"issuer": "https://i.example:9443", "audience": ["a"], **more}]}}
        return egress(policy(chart.objects({"config": settings})))

    assert (9443,) in issuer()
    assert (9443,) not in issuer(hs256_secret_file="/x")
    assert (9443,) in issuer(hs256_secret_file="/x", client_id="tracegate")
    assert (8443, 9443) in issuer(jwks_url="https://keys.example:8443/jwks")


def test_it_can_be_left_to_others():
    assert chart.objects({"networkPolicy": {"enabled": False}}).none("NetworkPolicy")
    spec = policy(chart.objects({"networkPolicy": {"egress": {"enabled": False}}}))
    assert spec["policyTypes"] == ["Ingress"] and "egress" not in spec
