"""Cheap clients that speak HTTP themselves, many in one process, each a thread: those whose rights change all the
time, those who have none, and the one that measures how long nobody answered."""

import itertools
import secrets
import threading
import time

import requests

from load import forever

GET_EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id="
SEARCH = "/api/3.0/mlflow/traces/search"


class Client:
    """One principal at one address, on kept connections."""

    def __init__(self, context, url, token, seconds=15):
        self.url, self.seconds = url, seconds
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = context.trusted
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, target, body=None, **headers):
        return self.http.request(
            method, self.url + target, json=body, headers=headers, timeout=(2, self.seconds), allow_redirects=False
        )


def trace_of(experiment, trace=None):
    return {"trace": {"trace_info": {
        "trace_id": trace or "tr-" + secrets.token_hex(16),
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z", "execution_duration": "0.1s", "state": "OK", "trace_metadata": {}, "tags": {},
    }}}


def search_body(experiment, token=None):
    body = {"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}], "max_results": 1}
    return {**body, "page_token": token} if token else body


def steady(context):
    """A client that retries until it is answered, over the balancer, and notes each time that it was."""
    client = Client(context, context.url, context.tokens["bob"], 3)
    target = GET_EXPERIMENT + context.experiments["support-bot"]

    def ask():
        if client.call("GET", target).status_code == 200:
            context.ledger.fact("served")
        else:
            client.http.close()

    forever(context, [("allow", ask)], 0.1)


class Versions:
    """The last policy version that the administrator was told."""

    def __init__(self):
        self.latest = 0


def changer(context, versions):
    """An administrator who gives carol a grant and takes it away, without end."""
    client = Client(context, context.url, context.tokens["admin"])
    wanted = {
        "principal": "user:carol", "securable": f"experiment:{context.experiments['secret-lab']}", "privilege": "CAN_READ",
    }

    def until_done(method, target, body=None):
        """An answer; asked again after an outage, when it may have been done already."""
        context.expect("allow")
        while not context.stop:
            try:
                answer = client.call(method, target, body)
                if answer.status_code < 500:
                    return answer
            except requests.RequestException:
                pass
            # Gone already is an answer too, once the first attempt may have done it.
            context.expect("repeated")
            context.stop.rest(0.2)
        return None

    while not context.stop:
        made = until_done("POST", "/api/tracegate/v1/grants", wanted)
        if made is None:
            return
        assert made.status_code == 200, made.text
        made = made.json()
        versions.latest = max(versions.latest, made["policy_version"])
        context.ledger.fact("granted", version=made["policy_version"])
        context.stop.rest(0.5)
        gone = until_done("DELETE", f"/api/tracegate/v1/grants/{made['grant']['id']}")
        if gone is None:
            return
        assert gone.status_code in (200, 404), gone.text
        if gone.status_code == 200:
            versions.latest = max(versions.latest, gone.json()["policy_version"])
            context.ledger.fact("revoked", version=gone.json()["policy_version"])
        context.stop.rest(0.5)


def carol(context, versions, url):
    """Asks one replica, now without and now with a demand, what the administrator gives and takes."""
    client = Client(context, url, context.tokens["carol"])
    target = GET_EXPERIMENT + context.experiments["secret-lab"]
    demand = itertools.cycle([False, True, False])
    while not context.stop:
        version = versions.latest if next(demand) else 0
        context.expect("changing", demanded=version)
        headers = {"X-Tracegate-Minimum-Policy-Version": str(version)} if version else {}
        try:
            client.call("GET", target, **headers)
        except requests.RequestException:
            pass
        context.stop.rest(0.15)


def stranger(context):
    """Somebody with a good token and no grant, who tries what he knows of."""
    client = Client(context, context.url, context.tokens["zoe"])
    support = context.experiments["support-bot"]

    def trace():
        traces = context.recent_traces()
        if traces:
            client.call("GET", f"/api/3.0/mlflow/traces/{traces[-1]}")

    forever(context, [
        ("deny", lambda: client.call("GET", GET_EXPERIMENT + support)),
        ("deny", lambda: client.call("POST", SEARCH, search_body(support))),
        ("deny", lambda: client.call("POST", "/api/3.0/mlflow/traces", trace_of(support))),
        ("deny", trace),
    ], 0.2)


def claimed(context):
    """A writer who wants traces that another experiment has had since before the migration."""
    client = Client(context, context.url, context.tokens["edith"])
    foreign = itertools.cycle(context.foreign_traces)
    body = lambda: trace_of(context.experiments["support-bot"], next(foreign))  # noqa: E731
    forever(context, [("deny", lambda: client.call("POST", "/api/3.0/mlflow/traces", body()))], 0.5)


def tokens(context, urls):
    """A person whose token is revoked now and then; a new one is good at every replica at once."""
    admin = Client(context, context.url, context.tokens["admin"])
    while not context.stop:
        context.expect("allow")
        try:
            made = admin.call("POST", "/api/tracegate/v1/tokens", {"name": "soak", "principal": "user:tim"})
        except requests.RequestException:
            continue
        if made.status_code != 200:
            context.stop.rest(0.3)
            continue
        token, number = made.json()["token"], made.json()["record"]["id"]
        ended = threading.Event()
        users = [threading.Thread(target=_use, args=(context, url, token, number, ended)) for url in urls]
        for user in users:
            user.start()
        context.stop.rest(3)
        asked, revoked = time.monotonic(), False
        while not revoked and not context.stop:
            try:
                gone = admin.call("DELETE", f"/api/tracegate/v1/tokens/{number}")
                context.expect("repeated")
                revoked = gone.status_code in (200, 404)
            except requests.RequestException:
                context.expect("repeated")
                context.stop.rest(0.2)
        if revoked:
            context.ledger.fact("token_revoked", token=number, asked=asked)
        # Longer than it may be remembered.
        context.stop.rest(context.token_cache_seconds + 2)
        ended.set()
        for user in users:
            user.join()


def _use(context, url, token, number, ended):
    client = Client(context, url, token)
    context.expect("token", token=number)
    while not ended.is_set() and not context.stop:
        try:
            client.call("GET", "/api/tracegate/v1/whoami")
        except requests.RequestException:
            pass
        context.stop.rest(0.4)


def pages(context, urls):
    """A page of one replica, the next page of another."""
    pairs = itertools.cycle(itertools.permutations([Client(context, url, context.tokens["bob"]) for url in urls], 2))
    support = context.experiments["support-bot"]

    def turn():
        one, other = next(pairs)
        first = one.call("POST", SEARCH, search_body(support))
        token = first.json().get("next_page_token") if first.status_code == 200 else None
        if token:
            second = other.call("POST", SEARCH, search_body(support, token))
            if second.status_code == 200:
                context.ledger.fact("page_of_another")

    forever(context, [("allow", turn)], 0.4)


def limited(context, urls):
    """More calls than an experiment takes in a second, at all replicas in turn."""
    clients = itertools.cycle([Client(context, url, context.tokens["edith"], 5) for url in urls])
    target = GET_EXPERIMENT + context.experiments["limited"]
    forever(context, [("limited", lambda: next(clients).call("GET", target))], 0.05)


def all_of_them(context):
    versions = Versions()
    urls = context.replicas
    threads = [(steady,), (changer, versions), (stranger,), (claimed,), (tokens, urls), (pages, urls), (limited, urls)]
    threads += [(carol, versions, url) for url in urls]
    failed = []

    def run(function, *arguments):
        try:
            function(context, *arguments)
        except BaseException as error:
            failed.append(error)
            context.stop.event.set()
            raise

    running = [threading.Thread(target=run, args=each) for each in threads]
    for thread in running:
        thread.start()
    context.begun()
    for thread in running:
        thread.join()
    if failed:
        raise failed[0]


KINDS = {"http": all_of_them}
