"""Signing in with a browser: a real OpenID Connect provider, a real MLflow server, a real Chromium.

`signed` is a gateway before an MLflow server, at which the demo's people sign in. People are either a
`Person`, who makes a browser's requests one by one, or a page of Chromium.
"""

import http.server
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import requests

from harness import oidc, processes
from harness.oidc import Person, order, query_of

pytestmark = pytest.mark.gate

# Who of the demo sees which of its experiments.
SEES = {
    "admin": ["Default", "secret-lab", "support-bot"],
    "alice": ["support-bot"],
    "bob": ["support-bot"],
    "erin": ["support-bot"],
    "lena": ["support-bot"],
    "dave": ["secret-lab"],
    "carol": [],
}


def within(seconds, condition, what):
    """Waits for a condition, generously bounded; says how long it took."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


class Recorder:
    """Stands before the MLflow server and keeps the headers of what reaches it."""

    def __init__(self, target):
        recorder = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                recorder.seen.append((self.command, self.path, dict(self.headers.items())))
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "connection", "accept-encoding")}
                answer = requests.request(
                    self.command, target + self.path, headers={**kept, "Accept-Encoding": "identity"}, data=body,
                    allow_redirects=False, timeout=60,
                )
                self.send_response(answer.status_code)
                for name in ("content-type", "location", "etag", "cache-control"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                # What an upstream must not be able to set.
                self.send_header("Set-Cookie", "tracegate_session=from-upstream; Path=/")
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("browser")
    # One of its own: what others keep in theirs would stand on its pages too.
    mlflow_server = processes.start_mlflow(directory / "mlflow")
    demo = processes.start_demo(directory, mlflow_server.url)
    tokens, experiments = demo.details["tokens"], demo.details["experiments"]
    demo.stop()
    upstream = Recorder(mlflow_server.url)
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    provider = oidc.start_provider(directory, url, tokenSeconds=6)
    public = oidc.start_provider(directory, url)
    issuers = [
        oidc.issuer_settings(provider),
        oidc.issuer_settings(public, client_id="tracegate-public", client_secret=None, display_name="<b>public</b>", enroll=False),
    ]
    environment = {
        "TRACEGATE__SERVER__PUBLIC_URL": url,
        "TRACEGATE__IDENTITY__ISSUERS": f"[{', '.join(issuers)}]",
    }
    server = processes.start_serve(directory, upstream.url, port, **environment)
    yield SimpleNamespace(
        url=url, tokens=tokens, experiments=experiments, provider=provider, public=public, server=server,
        upstream=upstream, directory=directory, environment=environment, mlflow=mlflow_server,
    )
    server.stop()
    provider.stop()
    public.stop()
    mlflow_server.stop()
    upstream.stop()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    program = os.environ.get("BROWSER_BIN") or oidc.prepared("browser.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page_of(chromium):
    context = chromium.new_context()
    page = context.new_page()
    # MLflow's pages are large, and the machine may be busy.
    page.set_default_timeout(90_000)
    # MLflow's pages ask for things of the internet, which tests do without.
    page.route(re.compile(r"^https?://(?!127\.0\.0\.1|localhost)"), lambda route: route.abort())
    try:
        yield page
    finally:
        context.close()


def first(signed):
    return f"/tracegate/login?issuer={signed.provider.details['issuer']}"


def person(signed, name):
    somebody = Person(signed.url, name)
    somebody.sign_in(first(signed))
    return somebody


def admin(signed, method, path, **more):
    return requests.request(
        method, f"{signed.url}/api/tracegate/v1/{path}", headers={"Authorization": f"Bearer {signed.tokens['admin']}"},
        timeout=20, **more,
    )


def sign_in_with(page, signed, name):
    """From a page of MLflow's, over the page of issuers and the provider's form, back to it."""
    page.goto(signed.url + "/")
    page.get_by_role("link", name="the test provider").click()
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", "x")
    page.click("button[type=submit]")
    page.wait_for_selector("form:has(input[value=consent])", state="attached")
    page.click("button[type=submit]")
    page.wait_for_url(signed.url + "/**")


# ---------------------------------------------------------------- Chromium


@pytest.mark.parametrize("name", SEES)
def test_mlflows_own_pages_show_each_person_their_experiments_and_nothing_else(signed, chromium, name):
    with page_of(chromium) as page:
        sign_in_with(page, signed, name)
        page.goto(signed.url + "/#/experiments")
        with page.expect_response(lambda answer: "experiments/search" in answer.url) as searched:
            page.reload()
        answers = [searched.value.text()]
        found = [one["name"] for one in searched.value.json().get("experiments", [])]
        assert sorted(found) == SEES[name]
        for seen in SEES[name]:
            page.get_by_text(seen, exact=True).first.wait_for()
        page.wait_for_function("document.body.innerText.includes('Experiments')")
        for hidden in {"secret-lab", "support-bot"} - set(SEES[name]):
            assert page.get_by_text(hidden).count() == 0
            assert all(hidden not in text for text in answers)
        if name == "alice":
            # One's own traces open in MLflow's page of them; those of others do not.
            page.goto(f"{signed.url}/#/experiments/{signed.experiments['support-bot']}/traces")
            page.get_by_text("How do I reset my password").first.wait_for()
            page.screenshot(path=signed.directory / "traces.png")
            with page.expect_response(lambda answer: "experiments/get" in answer.url) as asked:
                page.goto(f"{signed.url}/#/experiments/{signed.experiments['secret-lab']}/traces")
            assert asked.value.status in (403, 404)


def test_the_pages_of_signing_in_and_out(signed, chromium):
    with page_of(chromium) as page:
        page.goto(signed.url + "/tracegate/login")
        assert page.get_by_role("link", name="<b>public</b>").count() == 1
        page.screenshot(path=signed.directory / "login.png")
        sign_in_with(page, signed, "bob")
        page.goto(signed.url + "/tracegate/account")
        shown = page.inner_text("main")
        assert "bob" in shown and "analysts" in shown and "Your sessions" in shown
        page.screenshot(path=signed.directory / "account.png")
        cookie = next(one for one in page.context.cookies() if one["name"] == "tracegate_session")
        assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and cookie["path"] == "/"
        assert page.evaluate("document.cookie").find("tracegate") == -1
        elsewhere = person(signed, "bob")
        page.reload()
        others = page.get_by_role("button", name="End").count()
        assert others >= 1
        for _ in range(others):
            page.get_by_role("button", name="End").first.click()
            page.wait_for_url(signed.url + "/tracegate/account")
        assert page.get_by_role("button", name="End").count() == 0
        within(2, lambda: elsewhere.experiments() == 401, "a session that its owner ended still reads")
        page.get_by_role("button", name="Sign out").click()
        # On to the provider, which asks whether to sign out there too, and back.
        page.wait_for_url(signed.provider.url + "/**")
        page.screenshot(path=signed.directory / "provider.png")
        page.click("button[value=yes]")
        page.wait_for_url(signed.url + "/tracegate/logout**")
        assert "not signed in" in page.inner_text("main")
        page.screenshot(path=signed.directory / "signed-out.png")
        assert all(one["name"] != "tracegate_session" for one in page.context.cookies())
        stolen = {"Cookie": f"tracegate_session={cookie['value']}"}
        assert requests.get(signed.url + "/api/tracegate/v1/whoami", headers=stolen, timeout=10).status_code == 401


def test_a_page_of_another_site_gets_nothing_done_with_the_cookie(signed, chromium):
    """`localhost` is another site than `127.0.0.1`, so this is what a hostile page could do."""
    body = {}

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = body["html"].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    hostile = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=hostile.serve_forever, daemon=True).start()
    home = f"http://localhost:{hostile.server_address[1]}/"
    try:
        with page_of(chromium) as page:
            sign_in_with(page, signed, "alice")
            for action, kind in [
                ("/tracegate/logout", "application/x-www-form-urlencoded"),
                ("/ajax-api/2.0/mlflow/experiments/create", "text/plain"),
                ("/tracegate/account/end-session", "application/x-www-form-urlencoded"),
            ]:
                body["html"] = (
                    f'<form method="post" enctype="{kind}" action="{signed.url}{action}">'
                    '<input name=\'{"name":"forged","x":"\' value=\'"}\'></form><script>document.forms[0].submit()</script>'
                )
                page.goto(home)
                page.wait_for_url(signed.url + "/**")
            found = page.evaluate(
                """async (url) => { try { const r = await fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include',
                   headers: {'Content-Type': 'text/plain'}, body: '{"name":"forged"}'}); return r.type } catch (e) { return 'failed' } }""",
                signed.url + "/ajax-api/2.0/mlflow/experiments/create",
            )
            assert found in ("opaque", "failed"), "a page of another site could read an answer"
            page.goto(signed.url + "/tracegate/account")
            assert "alice" in page.inner_text("main"), "signed out by a page of another site"
            body["html"] = f'<iframe src="{signed.url}/tracegate/account"></iframe>'
            page.goto(home)
            assert "alice" not in page.frames[-1].content()
    finally:
        hostile.shutdown()
        hostile.server_close()
    names = requests.post(
        signed.mlflow.url + "/api/2.0/mlflow/experiments/search", json={"max_results": 100}, timeout=20
    ).json()
    assert all(one["name"] != "forged" for one in names["experiments"])


# ---------------------------------------------------------------- the end of a session


def test_signing_out_ends_the_session_at_once(signed):
    bob = person(signed, "bob")
    assert bob.experiments() == ["support-bot"]
    answer = bob.api("/tracegate/logout", "POST", data={"csrf": bob.csrf()})
    assert answer.status_code == 200 and signed.provider.url + "/session/end" in answer.text
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_an_administrator_ends_a_session(signed):
    admin(signed, "DELETE", "sessions", params={"principal": "user:dave"})
    dave = person(signed, "dave")
    assert dave.experiments() == ["secret-lab"]
    sessions = admin(signed, "GET", "sessions", params={"principal": "user:dave"}).json()["sessions"]
    assert [one["principal"] for one in sessions] == ["user:dave"]
    assert dave.cookie not in str(sessions)
    assert admin(signed, "DELETE", f"sessions/{sessions[0]['id']}").json() == {"ended": [sessions[0]["id"]]}
    assert within(2, lambda: dave.experiments() == 401, "an ended session still reads") < 2
    again = dave.get("/")
    assert again.status_code == 302 and again.headers["location"] == "/tracegate/login?next=%2F"
    assert "Max-Age=0" in again.headers["set-cookie"]
    assert admin(signed, "DELETE", f"sessions/{sessions[0]['id']}").status_code == 404


def test_who_is_deactivated_is_out_and_cannot_come_back(signed):
    erin = person(signed, "erin")
    assert erin.experiments() == ["support-bot"]
    assert admin(signed, "PUT", "principals/user%3Aerin/active", json={"active": False}).status_code == 200
    try:
        within(2, lambda: erin.experiments() == 401, "a deactivated person still reads")
        fresh = Person(signed.url, "erin")
        refused = fresh.get(fresh.begin(first(signed)))
        assert refused.status_code == 401 and fresh.cookie is None
        assert "deactivated" not in refused.text
    finally:
        admin(signed, "PUT", "principals/user%3Aerin/active", json={"active": True})


def test_one_ends_ones_own_sessions_and_no_others(signed):
    here, there, carol = person(signed, "bob"), person(signed, "bob"), person(signed, "carol")
    own = here.api("/api/tracegate/v1/sessions").json()["sessions"]
    assert len(own) >= 2 and {one["principal"] for one in own} == {"user:bob"}
    same_origin = {"Sec-Fetch-Site": "same-origin"}
    for one in own:
        # Theirs and one that is not there are refused alike.
        for name in (one["id"], "ses_none"):
            assert carol.api(f"/api/tracegate/v1/sessions/{name}", "DELETE", headers=same_origin).status_code == 403
    assert carol.api("/api/tracegate/v1/sessions?principal=user:bob").status_code == 403
    assert carol.api("/api/tracegate/v1/sessions?principal=user:bob", "DELETE", headers=same_origin).status_code == 403
    foreign = carol.api("/tracegate/account/end-session", "POST", headers=same_origin, data={"csrf": here.csrf(), "session": own[0]["id"]})
    assert foreign.status_code == 403
    silent = carol.api("/tracegate/account/end-session", "POST", headers=same_origin, data={"csrf": carol.csrf(), "session": own[0]["id"]})
    assert silent.status_code == 303
    assert there.experiments() == ["support-bot"] and here.experiments() == ["support-bot"]
    ended = here.api("/api/tracegate/v1/sessions", "DELETE", headers=same_origin).json()["ended"]
    assert sorted(ended) == sorted(one["id"] for one in own)
    within(2, lambda: there.experiments() == 401 and here.experiments() == 401, "an ended session still reads")


def test_the_provider_ends_sessions_by_the_back_channel(signed):
    lena = person(signed, "lena")
    assert lena.experiments() == ["support-bot"]
    asked = lena.get(signed.provider.url + "/session/end")
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    action = re.search(r'action="([^"]+)"', asked.text).group(1)
    lena.http.post(action, data={**form, "logout": "yes"}, allow_redirects=False, timeout=20)
    within(5, lambda: lena.experiments() == 401, "signed out at the provider and still reading")
    for token in ("", "x.y.z", order(signed.provider, "jwt", name="bob")["jwt"]):
        answer = requests.post(signed.url + "/tracegate/backchannel-logout", data={"logout_token": token}, timeout=10)
        assert answer.status_code == 400 and answer.json()["error"] == "invalid_request", answer.text


# ---------------------------------------------------------------- the provider changes, or is gone


def test_groups_are_taken_anew_when_the_session_is_renewed(signed):
    carol = person(signed, "carol")
    assert carol.experiments() == []
    order(signed.provider, "people", name="carol", groups="analysts")
    try:
        within(20, lambda: carol.experiments() == ["support-bot"], "the new group is not seen")
        order(signed.provider, "people", name="carol", groups="")
        within(20, lambda: carol.experiments() == [], "the lost group is still seen")
    finally:
        order(signed.provider, "people", name="carol", groups="")


def test_a_rotated_key_is_picked_up(signed):
    before = {"Authorization": "Bearer " + order(signed.provider, "jwt", name="bob")["jwt"]}
    whoami = signed.url + "/api/tracegate/v1/whoami"
    assert requests.get(whoami, headers=before, timeout=10).json()["principal"] == "user:bob"
    order(signed.provider, "rotate")
    within(45, lambda: isinstance(try_sign_in(signed, "bob"), Person), "nobody can sign in with the new key")
    after = {"Authorization": "Bearer " + order(signed.provider, "jwt", name="bob")["jwt"]}
    assert requests.get(whoami, headers=after, timeout=10).json()["principal"] == "user:bob"


def try_sign_in(signed, name):
    somebody = Person(signed.url, name)
    answer = somebody.get(somebody.begin(first(signed)))
    return somebody if answer.status_code == 303 else answer.status_code


def test_without_the_provider_people_go_on_and_nobody_signs_in(signed):
    bob = person(signed, "bob")
    bearer = {"Authorization": "Bearer " + order(signed.provider, "jwt", name="alice")["jwt"]}
    whoami = signed.url + "/api/tracegate/v1/whoami"
    assert requests.get(whoami, headers=bearer, timeout=10).status_code == 200
    order(signed.provider, "down")
    try:
        # Longer than the provider's tokens live: renewals fail, and nobody is locked out.
        ends = time.monotonic() + 9
        while time.monotonic() < ends:
            assert bob.experiments() == ["support-bot"]
            time.sleep(0.5)
        assert requests.get(whoami, headers=bearer, timeout=10).json()["principal"] == "user:alice"
    finally:
        order(signed.provider, "up")
    assert bob.experiments() == ["support-bot"]


def test_who_is_gone_at_the_provider_is_out_at_the_next_renewal(signed):
    lena = person(signed, "lena")
    assert lena.experiments() == ["support-bot"]
    order(signed.provider, "people", name="lena", gone="1")
    try:
        within(20, lambda: lena.experiments() == 401, "somebody whom the provider does not know goes on")
    finally:
        order(signed.provider, "people", name="lena", groups="")


# ---------------------------------------------------------------- replicas


def test_a_session_works_on_every_replica_is_renewed_once_and_ends_on_all(mlflow_server, postgres_server, tmp_path):
    database = {"TRACEGATE__DATABASE__URL": postgres_server.details["url"]}
    first_home, second_home = tmp_path / "first", tmp_path / "second"
    demo = processes.start_demo(first_home, mlflow_server.url, **database)
    token = demo.details["tokens"]["admin"]
    demo.stop()
    second_home.mkdir()
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    provider = oidc.start_provider(tmp_path, url, tokenSeconds=6)
    environment = {
        **database, "TRACEGATE__SERVER__PUBLIC_URL": url,
        "TRACEGATE__IDENTITY__ISSUERS": f"[{oidc.issuer_settings(provider)}]",
    }
    servers = [processes.start_serve(first_home, mlflow_server.url, port, **environment)]
    try:
        servers.append(processes.start_serve(second_home, mlflow_server.url, **environment))
        bob = Person(url, "bob")
        bob.sign_in()
        cookie = {"Cookie": f"tracegate_session={bob.cookie}"}
        order(provider, "asked")

        def status(server):
            return requests.get(server.url + "/api/tracegate/v1/whoami", headers=cookie, timeout=20).status_code

        # The provider takes each refresh token once, and all of a person's back if one comes again.
        ends = time.monotonic() + 15
        with ThreadPoolExecutor(6) as pool:
            while time.monotonic() < ends:
                assert set(pool.map(status, servers * 6)) == {200}
        renewals = order(provider, "asked")["asked"].count("POST /token")
        assert 1 <= renewals <= 4, renewals
        ended = requests.delete(
            url + "/api/tracegate/v1/sessions", params={"principal": "user:bob"}, timeout=10, headers={"Authorization": f"Bearer {token}"},
        )
        assert len(ended.json()["ended"]) == 1
        assert status(servers[0]) == 401
        within(2, lambda: status(servers[1]) == 401, "another replica still knows an ended session")
    finally:
        for server in [*servers, provider]:
            server.stop()


# ---------------------------------------------------------------- strangers


def test_an_issuer_enters_strangers_unless_it_may_not(signed):
    order(signed.provider, "people", name="nora", groups="analysts")
    nora = person(signed, "nora")
    assert nora.experiments() == ["support-bot"]
    known = [one["principal"] for one in admin(signed, "GET", "principals").json()["principals"]]
    assert known.count("user:nora") == 1
    order(signed.public, "people", name="olaf", groups="analysts")
    olaf = Person(signed.url, "olaf")
    refused = olaf.get(olaf.begin(f"/tracegate/login?issuer={signed.public.details['issuer']}"))
    assert refused.status_code == 401 and olaf.cookie is None
    bearer = {"Authorization": "Bearer " + order(signed.public, "jwt", name="olaf")["jwt"]}
    assert requests.get(signed.url + "/api/tracegate/v1/whoami", headers=bearer, timeout=10).status_code == 401
    known = [one["principal"] for one in admin(signed, "GET", "principals").json()["principals"]]
    assert "user:olaf" not in known
    # The same name at two issuers is the same person.
    bob = Person(signed.url, "bob")
    bob.sign_in(f"/tracegate/login?issuer={signed.public.details['issuer']}")
    assert bob.api("/api/tracegate/v1/whoami").json()["principal"] == "user:bob"


def test_a_group_of_the_provider_makes_no_administrator(signed):
    order(signed.provider, "people", name="mallory", groups="admins")
    mallory = person(signed, "mallory")
    assert mallory.api("/api/tracegate/v1/whoami").json()["administrator"] is False
    assert mallory.api("/api/tracegate/v1/principals").status_code == 403


def test_a_jwt_enters_a_stranger_once_and_brings_nobody_back(signed):
    order(signed.provider, "people", name="petra", groups="analysts")
    whoami = signed.url + "/api/tracegate/v1/whoami"

    def call():
        bearer = {"Authorization": "Bearer " + order(signed.provider, "jwt", name="petra")["jwt"]}
        return requests.get(whoami, headers=bearer, timeout=20).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: call(), range(16))) == {200}

    def entered():
        events = processes.audit_query(signed.url, signed.tokens["admin"], "--principal", "user:petra")
        return [event for event in events if event.get("policy_change")]

    within(10, entered, "nobody was entered")
    assert [event["policy_change"]["action"] for event in entered()] == ["principal.create"]
    assert admin(signed, "PUT", "principals/user%3Apetra/active", json={"active": False}).status_code == 200
    within(10, lambda: call() == 401, "a deactivated person still calls")
    fresh = Person(signed.url, "petra")
    assert fresh.get(fresh.begin(first(signed))).status_code == 401 and call() == 401
    known = admin(signed, "GET", "principals").json()["principals"]
    assert [one["active"] for one in known if one["principal"] == "user:petra"] == [False]


# ---------------------------------------------------------------- attacks


def test_an_answer_counts_only_in_the_browser_that_asked(signed):
    alice, mallory = Person(signed.url, "alice"), Person(signed.url, "mallory")
    order(signed.provider, "people", name="mallory", groups="")
    of_alice, of_mallory = alice.begin(first(signed)), mallory.begin(first(signed))
    # Without the cookie, with another's cookie, with another's state or code.
    assert Person(signed.url, "x").get(of_mallory).status_code == 401
    assert alice.get(of_mallory).status_code == 401
    stolen, own = query_of(of_mallory), query_of(of_alice)
    mixed = of_alice.replace(own["code"], stolen["code"])
    assert mixed != of_alice and alice.get(mixed).status_code == 401
    mixed = of_alice.replace(own["state"], stolen["state"])
    assert alice.get(mixed).status_code == 401
    assert alice.cookie is None


def test_a_code_works_once(signed):
    alice = Person(signed.url, "alice")
    back = alice.begin(first(signed))
    pending = alice.http.cookies.get("tracegate_sign_in")
    assert alice.get(back).status_code == 303
    again = requests.get(back, headers={"Cookie": f"tracegate_sign_in={pending}"}, allow_redirects=False, timeout=10)
    assert again.status_code == 401 and "tracegate_session" not in again.headers.get("set-cookie", "")
    assert alice.http.cookies.get("tracegate_sign_in") is None


def test_the_issuer_that_answers_is_the_one_that_was_asked(signed):
    alice = Person(signed.url, "alice")
    back = alice.begin(first(signed))
    issuer = query_of(back)["iss"]
    assert issuer == signed.provider.details["issuer"]
    for other in (quote(signed.public.details["issuer"], safe=""), ""):
        assert alice.get(back.replace(quote(issuer, safe=""), other)).status_code == 401
    assert alice.get(re.sub(r"&?iss=[^&]*", "", back)).status_code == 401
    assert alice.get(re.sub(r"code=[^&]*", "error=access_denied", back)).status_code == 401


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "/%09/evil.example", "%2F%2Fevil.example", "/x%0d%0aSet-Cookie:a=b", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(signed, wanted):
    alice = Person(signed.url, "alice")
    answer = alice.sign_in(f"{first(signed)}&next={wanted}")
    assert answer.headers["location"] == "/"
    assert "a=b" not in str(answer.headers)


def test_signing_in_leads_back_to_the_page_that_was_wanted(signed):
    alice = Person(signed.url, "alice")
    wanted = alice.get("/tracegate/account?a=b%26c")
    assert wanted.status_code == 302
    target = query_of(signed.url + wanted.headers["location"])["next"]
    answer = alice.sign_in(f"{first(signed)}&next={requests.utils.quote(target, safe='')}")
    assert answer.headers["location"] == "/tracegate/account?a=b%26c"


def test_a_cookie_that_was_not_made_here_is_refused_and_never_nobody(signed):
    bob = person(signed, "bob")
    whoami = signed.url + "/api/tracegate/v1/whoami"

    def status(cookie, url=whoami, **headers):
        return requests.get(url, headers={"Cookie": cookie, **headers}, allow_redirects=False, timeout=10).status_code

    good = bob.cookie
    assert status(f"tracegate_session={good}") == 200
    changed = ("B" if good[0] != "B" else "C") + good[1:]
    for bad in ("", "x", changed, good[:-1], good + "A", good + "==", "A" * 43, good.swapcase(), "%00", "a" * 5000):
        assert status(f"tracegate_session={bad}") == 401, bad
        # Not even where nobody need be known.
        assert status(f"tracegate_session={bad}", signed.url + "/version") == 401, bad
    assert status(f"tracegate_session={good}; tracegate_session={good}") == 401
    # The name for https is not looked at here, and a credential beside the cookie decides alone.
    assert status(f"__Host-tracegate={good}") == 401
    assert status(f"tracegate_session={good}", Authorization="Bearer nonsense") == 401
    assert status(f"tracegate_session={changed}", Authorization=f"Bearer {signed.tokens['bob']}") == 200
    # As anything but a cookie it is nothing.
    assert status("", Authorization=f"Bearer {good}") == 401
    assert requests.get(f"{whoami}?tracegate_session={good}", timeout=10).status_code == 401


def test_each_sign_in_is_a_new_session_and_ends_the_one_before(signed):
    bob = person(signed, "bob")
    first_cookie = bob.cookie
    bob.sign_in(first(signed))
    assert bob.cookie != first_cookie
    old = {"Cookie": f"tracegate_session={first_cookie}"}
    assert requests.get(signed.url + "/api/tracegate/v1/whoami", headers=old, timeout=10).status_code == 401
    # A cookie that somebody planted beforehand is not taken over.
    planted = "A" * 43
    alice = Person(signed.url, "alice")
    back = alice.begin(first(signed))
    alice.http.cookies.set("tracegate_session", planted, domain="127.0.0.1", path="/")
    answer = alice.get(back)
    assert answer.status_code == 303 and f"tracegate_session={planted}" not in answer.headers["set-cookie"]
    planted = {"Cookie": f"tracegate_session={planted}"}
    assert requests.get(signed.url + "/api/tracegate/v1/whoami", headers=planted, timeout=10).status_code == 401


def test_a_change_by_cookie_must_come_from_our_own_pages(signed):
    alice = person(signed, "alice")
    csrf = alice.csrf()
    path = "/ajax-api/2.0/mlflow/experiments/create"

    def create(name, **headers):
        return alice.api(path, "POST", json={"name": name}, headers=headers).status_code

    for number, headers in enumerate([
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": signed.url.replace("http:", "https:")},
        {"Origin": signed.url + ".evil.example"},
        {"Origin": signed.url, "Sec-Fetch-Site": "cross-site"},
        {"X-Tracegate-CSRF": "0" * 64},
        {"X-Tracegate-CSRF": ""},
        {"X-Tracegate-CSRF": person(signed, "alice").csrf()},
        {"Origin": "http://evil.example", "X-Tracegate-CSRF": csrf},
        {"Referer": signed.url + "/"},
    ]):
        assert create(f"forged-{number}", **headers) == 403, headers
    for number, headers in enumerate([{"Sec-Fetch-Site": "same-origin"}, {"Origin": signed.url}, {"X-Tracegate-CSRF": csrf}]):
        assert create(f"own-{number}-{time.time_ns()}", **headers) == 200, headers
    # Signing out needs the token in the form, wherever it comes from.
    for form in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": person(signed, "bob").csrf()}, [("csrf", csrf), ("csrf", csrf)]):
        answer = alice.api("/tracegate/logout", "POST", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.status_code in (400, 403), form
    assert alice.get("/tracegate/logout").status_code == 200 and alice.experiments() is not None
    assert alice.api("/api/tracegate/v1/whoami").status_code == 200


def test_clients_of_the_api_get_json_and_browsers_the_way_to_sign_in(signed):
    navigation = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
    for path in ("/", "/tracegate/account", "/static-files/x.js"):
        answer = requests.get(signed.url + path, headers=navigation, allow_redirects=False, timeout=10)
        assert answer.status_code == 302 and answer.headers["location"].startswith("/tracegate/login?next=%2F")
        assert answer.headers["cache-control"] == "no-store"
    api = signed.url + "/api/2.0/mlflow/experiments/get?experiment_id=1"
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}):
        answer = requests.get(api, headers=headers, allow_redirects=False, timeout=10)
        assert answer.status_code == 401 and answer.json()["error_code"] == "UNAUTHENTICATED", headers
        # A page's own requests must not make the browser ask for a password; clients are told of both ways.
        assert ("Basic" in answer.headers["www-authenticate"]) == ("Sec-Fetch-Mode" not in headers)
    answer = requests.post(api, headers=navigation, allow_redirects=False, timeout=10)
    assert answer.status_code in (401, 404)
    bad = {**navigation, "Authorization": "Bearer tg_nonsense"}
    assert requests.get(signed.url + "/", headers=bad, allow_redirects=False, timeout=10).status_code == 401


def test_the_cookie_stays_here_and_upstream_sets_none(signed):
    bob = person(signed, "bob")
    signed.upstream.seen.clear()
    assert bob.experiments() == ["support-bot"]
    front = bob.get("/")
    assert front.status_code == 200 and "set-cookie" not in front.headers
    assert bob.cookie != "from-upstream"
    assert len(signed.upstream.seen) >= 2
    for method, path, headers in signed.upstream.seen:
        text = str(headers).lower()
        assert "cookie" not in text and bob.cookie.lower() not in text and "csrf" not in text, (method, path)


def test_signing_in_and_out_and_each_refusal_are_on_record_and_no_secret_is(signed):
    dave = person(signed, "dave")
    cookie = dave.cookie
    session = dave.api("/api/tracegate/v1/sessions").json()["sessions"][0]["id"]
    csrf = dave.csrf()
    dave.api("/tracegate/logout", "POST", data={"csrf": csrf})
    admin(signed, "PUT", "principals/user%3Adave/active", json={"active": False})
    try:
        refused = Person(signed.url, "dave")
        assert refused.get(refused.begin(first(signed))).status_code == 401
    finally:
        admin(signed, "PUT", "principals/user%3Adave/active", json={"active": True})

    def recorded():
        events = processes.audit_query(signed.url, signed.tokens["admin"], "--principal", "user:dave")
        changes = {
            event["policy_change"]["action"]: event for event in events
            if event.get("policy_change") and session in str(event["policy_change"])
        }
        return changes if len(changes) == 2 else None

    within(10, recorded, "signing in and out are not on record")
    changes = recorded()
    began, ended = changes["session.create"], changes["session.end"]
    assert began["policy_change"]["after"]["principal"] == "user:dave" and began["policy_change"]["before"] is None
    assert ended["policy_change"]["after"]["ended"] is True and began["operation"] == "browser.callback"
    events = processes.audit_query(signed.url, signed.tokens["admin"])
    refusals = [event for event in events if event.get("principal") == "user:dave" and event["outcome"] == "refused"]
    assert any(event["operation"] == "browser.callback" and event["status"] == 401 for event in refusals)
    text = str(events) + signed.server.log_text()
    for secret in (cookie, csrf, oidc.SECRET, "eyJ"):
        assert secret not in text


def test_pages_tell_an_attacker_nothing_and_hold_no_script(signed):
    for path in (
        "/tracegate/login/callback?state=x&code=y", "/tracegate/login?issuer=https://evil.example",
        "/tracegate/login?issuer=%3Cscript%3E", "/tracegate/login/callback?error=%3Cscript%3Ealert(1)%3C/script%3E",
    ):
        answer = requests.get(signed.url + path, headers={"Accept": "text/html"}, allow_redirects=False, timeout=10)
        assert answer.status_code == 401 and answer.headers["content-type"].startswith("text/html")
        assert answer.headers["x-tracegate-decision-id"] in answer.text
        assert "<script" not in answer.text and "evil" not in answer.text and "state" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store" and answer.headers["referrer-policy"] == "same-origin"
    chooser = requests.get(signed.url + "/tracegate/login", timeout=10).text
    assert "&lt;b&gt;public&lt;/b&gt;" in chooser and "<b>" not in chooser


def test_the_command_line_lists_and_ends_sessions(signed):
    import json
    import subprocess

    bob = person(signed, "bob")

    def run(*arguments):
        done = subprocess.run(
            [processes.tracegate_binary(), "session", *arguments, "--json"], capture_output=True, text=True, timeout=30,
            env=processes.clean_environment(TRACEGATE_URL=signed.url, TRACEGATE_TOKEN=signed.tokens["admin"]),
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("list", "--principal", "user:bob")["sessions"]
    assert run("end", "--principal", "user:bob")["ended"]
    within(2, lambda: bob.experiments() == 401, "an ended session still reads")
