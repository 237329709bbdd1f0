"""Writes the seeds of the corpus: `python3 tests/fuzz/seeds.py`. What libFuzzer adds has names of its own, and
stays. The inputs are those of the tests beside each reader, a few of each kind."""

import base64
import gzip
import hashlib
import hmac
import json
import pathlib
import re
import struct
import zlib

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SECRET = b"a secret of at least thirty-two bytes"
NOW = 1_700_000_000


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def signed(header, claims):
    message = b64(header) + b"." + b64(claims)
    return message + b"." + b64(hmac.new(SECRET, message, hashlib.sha256).digest())


def claims(**replaced):
    known = {"iss": "https://secret.example", "aud": "tracegate", "sub": "ann", "exp": NOW + 3600, "jti": "j"}
    return json.dumps(known | replaced).encode()


def segment(*records):
    header = b"TGAUDIT1" + struct.pack("<Q", 1)
    last = hashlib.sha256(b"tracegate audit chain 1\nr").digest()
    header += last + b"\x01r"
    data = header + hashlib.sha256(header).digest()
    for seq, (kind, payload) in enumerate(records, 1):
        record = struct.pack("<IBQ", len(payload), kind, seq) + payload
        last = hashlib.sha256(last + record).digest()
        data += record + last
    return data


def otlp_fixture():
    source = (ROOT / "src/classify/otlp/tests.rs").read_text()
    return bytes.fromhex(re.search(r'FIXTURE: &str = "([0-9a-f]+)"', source)[1])


def deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


JWT = b'{"alg":"HS256","typ":"JWT"}'
TRACE, OTHER, SPAN = "0af7651916cd43dd8448eb211c80319c", "a" * 32, "b7ad6b7169203331"
OTLP_JSON = json.dumps({"resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
    "scopeSpans": [{"scope": {"name": "lib"}, "spans": [
        {"traceId": TRACE, "spanId": SPAN, "name": "a", "startTimeUnixNano": "1", "endTimeUnixNano": "2",
         "attributes": [{"key": "mlflow.traceTag.team", "value": {"stringValue": "x"}}]},
        {"traceId": OTHER, "spanId": SPAN, "parentSpanId": SPAN, "name": "b", "kind": 1,
         "status": {"code": 2, "message": "m"}, "startTimeUnixNano": 1, "endTimeUnixNano": 2},
    ]}]}]}, separators=(",", ":"))

SEEDS = {
    "path": ["/", "/api/3.0/mlflow/traces/tr-1/tags/a%2Fb", "/api/2.0/mlflow/experiments/get/", "/a%2e%2e/..;x",
             "/api/2.0/mlflow-artifacts/artifacts/1/x%20y/z", "/%2e%2e/a", "/a%252fb", "/get-artifact", "/a/%E2%82%AC"],
    "query": ["a=b&c=d", "run_ids=1&run_ids=2", "run_id=1&runId=1", "filter=name+LIKE+'%25a%25'%0A", "&&a=b&", "a=b;c=d",
              "experiment_ids[]=1", "a=%ff"],
    "headers": ["Host: a\nhost: b", "Authorization: Bearer x\nContent-Type: application/json", "a:\nA: 1"],
    "json": ['{"a": [1, {"b": null}], "c": "\\u0061\\ud83d\\ude00", "d": -1.5e3, "e": 18446744073709551615}', '{"a":1,"\\u0061":2}',
             '{"traceId": "x", "run_id": null}', '{"a":{"a":{"a":[[[]]]}}}', "[]", '{"x":1e400}'],
    "request_head": ["GET /api/2.0/mlflow/runs/get?run_id=1\nHost: a\nAuthorization: Bearer x", "POST http://h/a?b=c\nhost: h",
                     "CONNECT h:1", "OPTIONS *", "GET /%2e%2e/a?a=%zz\nx-a: é", "GET /a\nhost: a\nHost: b"],
    "forwarded": ["127.0.0.1", "10.1.2.3, 203.0.113.9", 'for="[2001:db8::1]:80";proto=https', 'for=10.0.0.9, for="a',
                  "for=unknown;by=_x", "::ffff:10.0.0.1", "10.0.0.1:80\n[::1]"],
    "authorization": ["Bearer abc", "basic YW5uOmFiYw==", "Bearer a, Bearer b", "Digest x", "Bearer x\nBearer x", "",
                      "Basic " + base64.b64encode("ann:pass wörd:x".encode()).decode(), "Basic OnRn", "Bearer tg_x"],
    "jwt": [signed(JWT, claims()), signed(JWT, claims(aud=["x", "tracegate"], nbf=NOW, exp=NOW + 0.5)),
            signed(b'{"alg":"none"}', claims()), b64(b'{"alg":"none"}') + b"." + b64(claims()) + b".",
            signed(JWT, claims(exp=NOW - 61)), signed(b'{"alg":"HS256","crit":["x"]}', claims())],
    "jwt_signed": [JWT + b"\n" + claims(), JWT + b"\n" + claims(groups=["a"], exp=1e11), JWT + b"\n{}",
                   b'{"alg":"HS256","typ":"logout+jwt"}\n' + claims(), b'{"alg":"none"}\n' + claims(),
                   JWT + b"\n" + claims()[:-1] + b',"sub":"root"}', JWT + b"\n" + claims(cnf={"jkt": "x"}),
                   JWT + b"\n" + claims(exp="1e9", aud=None), b'{"alg":"HS512","kid":"a"}\n' + claims()],
    "otlp_protobuf": [otlp_fixture(), b"", otlp_fixture()[:200], bytes.fromhex("0a0612040a020a00"),
                      bytes.fromhex("0a2012001a1c121a0a10") + b"\x01" * 16 + bytes.fromhex("120801")],
    "otlp_columns": [otlp_fixture(), b"", otlp_fixture()[:200],
                     bytes.fromhex("0a2012001a1c121a0a10") + b"\x01" * 16 + bytes.fromhex("120801")],
    "statement": ["SELECT trace_id, count(*) FROM main.agents.bot_otel_spans WHERE name LIKE 'a%' GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
                  "WITH a AS (SELECT unnest(range(0, 3)) AS n) SELECT * FROM a CROSS JOIN a AS b WHERE a.n BETWEEN 1 AND :most",
                  "SELECT attributes:a.b['c']::int, \"text\", CASE WHEN x IS NULL THEN 1 ELSE 10 / x END FROM `main`.`s`.`t` AS t",
                  "EXPLAIN SELECT 1 -- and so on", "SELECT 1; DROP TABLE main.s.t", "INSERT INTO main.s.t VALUES (1, 'a'), (2, NULL)",
                  "GRANT SELECT ON TABLE main.s.t TO `analysts`", "CREATE VIEW main.s.v AS SELECT * FROM main.s.t /* x */",
                  "CREATE FUNCTION main.s.f(x STRING) RETURNS BOOLEAN RETURN x = current_user()",
                  "ALTER TABLE main.s.t ADD COLUMN team STRING", "SELECT (((((1))))) UNION ALL SELECT 2 EXCEPT SELECT 3"],
    "otlp_json": [OTLP_JSON, '{"resourceSpans":[]}', "{}", OTLP_JSON.replace("traceId", "trace_id", 1)],
    "otlp_encoded": [b"\0" + gzip.compress(otlp_fixture(), mtime=0), b"\1" + zlib.compress(otlp_fixture()),
                     b"\1" + deflate(otlp_fixture()), b"\2" + gzip.compress(OTLP_JSON.encode(), mtime=0),
                     b"\0" + gzip.compress(bytes(1 << 20), mtime=0), b"\3" + zlib.compress(OTLP_JSON.encode())],
    "graphql": ['\nquery A($a: I) { mlflowGetRun(input: {runId: "r"}) { run { info { runId } modelVersions { name } } } }',
                '{"in":{"experimentIds":["1"]}}\nmutation { x: mlflowSearchRuns(input: $in) { runs { data { tags { key } } } } }',
                '\n{ ...f } fragment f on Q { mlflowGetExperiment(input:{experimentId:"1"}) { experiment { name } } }',
                "\n{ __typename }", '{"r":"x"}\n{ mlflowGetRun(input:{runUuid:$r}) @include(if: true) { apiError { code } } } # c',
                "\nsubscription { a }", "\n{a" * 20],
    "trace_filter": ["status = 'OK' AND tags.text LIKE '%x%'", "tags.`my key` ILIKE 'x' AND tag.a.b = 'y'", "timestamp_ms > 5",
                     "name IN ('a', \"b\") AND request_id NOT IN ('c')", "tags.a IS NULL AND metadata.b is not null",
                     "span.attributes.x = 'z' AND feedback.a > 0.5", "`text` = 'x'", "execution_time<-5.5", "trace.status!='OK'",
                     "prompt = 'a/1' AND run_id = 'r'", "tag.\"text.x\" = '-- /*'"],
    "search": ["timestamp_ms DESC\nstatus = 'OK'", "\ntags.k = 'v' AND metadata.m != 'n'", "tags.k\nspan.name LIKE 'a%' AND span.attributes.x = 'y'",
               "\nfeedback.a > 0.5 AND expectation.b = 'c'", "\ntags.k RLIKE '^v+$' AND tags.z IS NULL", "\nrun_id = 'r' AND prompt = 'a/1'",
               "\ntrace.status IN ('OK', 'ERROR') AND execution_time >= '5'", "\ntext LIKE '%x%'", "\nissue.id = 'i' AND end_time < 1e3",
               "\nrequest_id = 'a''b' AND client_request_id ILIKE '%[*_?'"],
    "scim_filter": ['userName eq "ann@example.COM"', 'emails[type eq "work" and value co "@"]', 'not (active eq true) or title pr',
                    'name.familyName ew "x" and (id eq "7" or externalId ne null)', 'members[value eq "1"]', 'emails[type eq "work"].value',
                    'urn:ietf:params:scim:schemas:core:2.0:User:userName sw "a"',
                    'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department gt "T\\u0061"'],
    "sealed": ["user:ann trace.search\nuser:bob trace.search\neyJvZmZzZXQiOiAwfQ\n{}", "a\na\nb\nc", "\n\n\n",
               "/api/tracegate/v1/multipart/1/a?upload_id=u\n/api/tracegate/v1/multipart/2/a\nAAAA\nx"],
    "page_token": ['{"search":"SEARCH","keys":[1000,"v",4607182418800017408]}', '{"search":"SEARCH","keys":[null,null,null]}',
                   '{"search":"SEARCH","keys":[1001,"k"]}', "eyJvZmZzZXQiOiAwfQ==", '{"search":"SEARCH","keys":[1002,null,"c"]}',
                   '{"search":"SEARCH","keys":[1002,"w",3]}', ""],
    "policy_yaml": ["version: 1\nscope: listed\ngroups:\n  - group: analysts\n    members: [user:bob, group:juniors]\n",
                    "version: 1\ngrants:\n  - on: experiment:1\n    allow:\n      - {to: group:analysts, privilege: CAN_READ, until: "
                    "2026-12-31T00:00:00Z, reason: \"quarterly: #1\"}\n    deny:\n      - {to: user:eve, privilege: trace.read}\n",
                    "version: 1\nexpect:\n  - {principal: user:bob, on: experiment:1, may: [trace.read], may_not: [trace.write]}\n",
                    "version: 1\ngrants: &a [*a]\n", "version: 1\ngroups: []\ngroups: []\n", "a:\n  - |\n   x\n  - 'y'\n"],
    "audit_segment": [segment(), segment((1, b'{"kind":"begin"}'), (3, b"{}")), segment((1, b"{}"), (2, b"{}"), (5, b"x"))[:-5],
                      segment((6, b""), (4, b"{}")), b"TGAUDIT1"],
}


def exported():
    """A chain of two records as `audit export` writes it."""
    last = hashlib.sha256(b"tracegate audit chain 1\nr").digest()
    lines = []
    for seq, payload in enumerate([b'{"kind":"begin"}', b"{}"], 1):
        record = struct.pack("<IBQ", len(payload), 1, seq) + payload
        last = hashlib.sha256(last + record).digest()
        lines.append('{"replica":"r","seq":%d,"record":"event","hash":"%s","payload":%s}' % (seq, last.hex(), payload.decode()))
    head = '{"tracegate_audit_export":1,"replica":"r","first_seq":1,"last_seq":2,"previous":"%s"}' % (
        hashlib.sha256(b"tracegate audit chain 1\nr").hexdigest())
    return "\n".join([head, *lines, ""])


SEEDS["audit_export"] = [exported(), '{"seq":1}', "{}\n{}\n", exported().replace("begin", "bogus"), exported().split("\n")[0] + '\n{"replica":"r","seq":1,"absent_through":2}\n', '{"number":1,"seq":3,"hash":"00","key":"k","signature":"s"}\n']

for target, seeds in SEEDS.items():
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number:02}").write_bytes(seed.encode() if isinstance(seed, str) else seed)
