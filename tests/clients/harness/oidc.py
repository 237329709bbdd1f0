"""A real OpenID Connect provider, and people who sign in at it: with Chromium, or with nothing but HTTP."""

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from . import processes

SETUP = Path(__file__).parents[2] / "setup"
SECRET = "a secret: with + and %"


def prepared(script):
    """What a script of `tests/setup` prints: where something is that a test needs."""
    done = subprocess.run([SETUP / script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start_provider(directory, base, **settings):
    """`details` holds `issuer` and `orders`; `base` is where people come back to."""
    program = Path(os.environ.get("OIDC_PROVIDER_DIR") or prepared("oidc_provider.sh"))
    port = processes.free_port()
    log = Path(directory) / f"oidc-{port}.log"
    command = ["node", program / "server.js", json.dumps({"port": port, "base": base, **settings})]
    found = {}

    def ready():
        for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
            if line.startswith("{"):
                found.update(json.loads(line))
        return bool(found)

    url = f"http://127.0.0.1:{port}"
    server = processes.start(
        "oidc-provider", command, url, log, processes.clean_environment(), Path(directory), ready, 60
    )
    server.details = found
    return server


def order(provider, what, **query):
    answer = requests.post(f"{provider.details['orders']}/{what}", params=query, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def issuer_settings(provider, **more):
    """`[[identity.issuers]]` for the provider, as a value for the environment."""
    keys = {
        "issuer": provider.details["issuer"], "audience": ["traces"], "client_id": "tracegate",
        "client_secret": SECRET, "scopes": ["openid", "profile"], "groups_claim": "groups",
        "display_name": "the test provider", **more,
    }
    keys = {key: value for key, value in keys.items() if value is not None}
    return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items()) + "}"


class Person:
    """Somebody without a browser: the same requests, each of which a test can look at and change."""

    def __init__(self, gate, name):
        self.gate, self.name = gate, name
        self.http = requests.Session()
        self.http.trust_env = False

    def get(self, url, **more):
        headers = {"Accept": "text/html", **more.pop("headers", {})}
        return self.http.get(urljoin(self.gate, url), headers=headers, allow_redirects=False, timeout=20, **more)

    def api(self, path, method="GET", **more):
        return self.http.request(method, urljoin(self.gate, path), allow_redirects=False, timeout=20, **more)

    def begin(self, start="/tracegate/login"):
        """To where the provider would send the browser back: the callback's URL, not opened yet."""
        answer = self.get(start)
        for _ in range(15):
            if answer.status_code in (302, 303):
                target = urljoin(answer.url, answer.headers["location"])
                if urlsplit(target).path == "/tracegate/login/callback":
                    return target
                answer = self.get(target)
                continue
            action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
            assert answer.status_code == 200 and action, f"{answer.status_code} {answer.url}\n{answer.text[:2000]}"
            prompt = re.search(r'name="prompt" value="(\w+)"', answer.text).group(1)
            form = {"prompt": prompt, **({"login": self.name, "password": "x"} if prompt == "login" else {})}
            answer = self.http.post(
                urljoin(answer.url, action.group(1)), data=form, allow_redirects=False, timeout=20
            )
        raise AssertionError("the sign-in goes in circles")

    def sign_in(self, start="/tracegate/login"):
        answer = self.get(self.begin(start))
        assert answer.status_code == 303, answer.text
        assert self.cookie
        return answer

    @property
    def cookie(self):
        return self.http.cookies.get("tracegate_session")

    def csrf(self):
        return re.search(r'name="csrf" value="([0-9a-f]+)"', self.get("/tracegate/account").text).group(1)

    def experiments(self):
        answer = self.api(
            "/ajax-api/2.0/mlflow/experiments/search", "POST", json={"max_results": 100},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        if answer.status_code != 200:
            return answer.status_code
        return sorted(one["name"] for one in answer.json().get("experiments", []))


def query_of(url):
    return {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
