"""What people send who did not read the documentation: every field of a call, in turn, made wrong."""

import copy

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


def abuse(m, method, path, body, fields=None):
    """All variations of a call with a body; then bodies that are no JSON object at all."""
    for _, wrong in variations(body, fields):
        m.call(method, path, body=wrong)
    for text in ("", "{", "[]", "null", '"text"', "5", '{"a": 1} x'):
        m.call(method, path, body=text)


def abuse_query(m, path, query):
    for wrong in query_variations(query):
        m.call("GET", path, query=wrong)
