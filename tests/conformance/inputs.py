"""What people send who did not read the documentation: every field of a call, in turn, made wrong.

`CONFORMANCE_SHARE` says that one of so many is sent; which, the text of each decides, so it is always the same.
"""

import copy
import json
import os
import zlib

SHARE = int(os.environ.get("CONFORMANCE_SHARE", "4"))

LONG = "long-" * 1400
ODD_TEXTS = ["", " ", "ünïcödé ✓ 🚀", "a\u0000b", "a'b\"c`d\\e", "%_*?[x]", "line\nbreak\ttab", "../up", "'; DROP TABLE runs; --"]
WRONG = [None, 5, 1.5, -1, True, "text", "7", [], ["text"], [5], [None], {}, {"a": 1}]
UNKNOWN_ID = "0123456789abcdef" * 2


def variations(body, fields=None):
    """`(what was done, body)`: each top-level field absent, of each wrong type, odd, and too long."""
    yield "extra field", {**body, "no_such_field": 1}
    for name in fields or body:
        yield f"without {name}", {key: value for key, value in body.items() if key != name}
        for value in WRONG:
            if value != body.get(name):
                yield f"{name} = {value!r}", {**copy.deepcopy(body), name: value}
        if isinstance(body.get(name), str):
            for value in [*ODD_TEXTS, LONG]:
                yield f"{name} = {value[:20]!r}", {**copy.deepcopy(body), name: value}


def query_variations(query):
    for name in query:
        yield {key: value for key, value in query.items() if key != name}
        for value in ["", "text", "7", "-1", "1.5", UNKNOWN_ID, *ODD_TEXTS]:
            yield {**query, name: value}
        yield {**query, name: [query[name], "twice"]}


def chosen(what):
    return zlib.crc32(what.encode("utf-8", "backslashreplace")) % SHARE == 0


def abuse(m, method, path, body, fields=None, nul=True, undo=None):
    """The call as it should be, variations of it, and bodies that are no JSON object at all.

    `nul` is false where the character U+0000, which MLflow keeps, would be listed afterwards; `undo` gets the
    bodies of calls that MLflow alone has done.
    """
    m.call(method, path, body=body)
    for what, wrong in variations(body, fields):
        if chosen(f"{sorted(body)} {what}") and (nul or "\\u0000" not in json.dumps(wrong)):
            answer = m.call(method, path, body=wrong)
            if undo and m.parted and answer.status == 200:
                undo(wrong, answer)
    for text in ("", "{", "[]", "null", '"text"', "5", '{"a": 1} x'):
        if chosen(f"{sorted(body)} {text}"):
            m.call(method, path, body=text)


def abuse_query(m, path, query):
    m.call("GET", path, query=query)
    for number, wrong in enumerate(query_variations(query)):
        if number % SHARE == 0:
            m.call("GET", path, query=wrong)
