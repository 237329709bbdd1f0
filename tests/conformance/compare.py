"""When two answers are the same: the whole list of what is not compared, and why.

- **Identifiers** that a server mints (runs, models, assessments …). The first time that both answers have a
  new one at the same place, they are taken for each other; from then on they must stand in the same places.
- **Who called**, if the store is behind the gateway, which stamps it: `mlflow.user` of traces and runs, a run's
  `user_id`, the source of what a human assessed, the authors of datasets, queues and issues.
- **Digests** of datasets, which are made of identifiers and times.
- **Times** of a server's clock: two times that are both within a day of now are the same. Times that the
  calls themselves say lie years back, so they are compared.
- **Page tokens**: a client may not look into them. Whether there is one is compared.
- **Order** of lists that have none: `UNORDERED` names them all.
- **Names** that a server makes up for runs, as identifiers; what MLflow's **database** says of itself in a message.
- The **position** in a filter that Tracegate's messages end with and MLflow's do not.
- **Sets** that Python prints into a message, with their elements in any order.
- **Headers**, but for the media type and, of files, the disposition.

Everything else is compared: status, every field, every message, the order of every other list.
"""

import datetime
import json
import re
import time
from urllib.parse import quote_plus

# Lists of key and value, or of names, that MLflow reads from tables without an order, by field name.
UNORDERED = {
    "tags": "key",
    "params": "key",
    "metrics": ("key", "model_id", "step"),
    "request_metadata": "key",
    "trace_metadata": "key",
    "aliases": "alias",
    "experiment_ids": None,
    "dataset_inputs": ("dataset", "digest"),
    "model_inputs": "model_id",
    "model_outputs": "model_id",
    "dataset_summaries": ("name", "digest"),
    # Of one batch: the time is one, the rest of the order is that of random ids.
    "records": "inputs",
}

# 32 hex digits with or without dashes, and whatever letters MLflow puts before them.
# In a query `%27` may stand before one. What begins with `tr-` a client chose: it is the same on both.
IDENTIFIER = re.compile(r"(?<!tr-)(?:(?<=%[0-9A-F]{2})|(?<![0-9a-f]))[0-9a-f]{32}(?![0-9a-f])|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What may be a page token; whether it is one, `Names` knows.
TOKEN = re.compile(r"(?<=page_token=)[^&]+|(?<=page_token\": \")[^\"]+|(?<=page_token\":\")[^\"]+")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
# A Python set in a message: its order is another in each process.
SET = re.compile(r"\{('[^'{}]*'(?:, '[^'{}]*')+)\}")
# What the database says of itself, which MLflow passes on: statements, parameters, links to SQLAlchemy's pages.
DATABASE = re.compile(r"\s*(Error: )?(\(raised as a result of Query-invoked autoflush[^)]*\)\s*)?\(sqlite3\..*", re.DOTALL)
# Tracegate says besides where in a filter it went wrong.
POSITION = re.compile(r" \(at character \d+\)$")
# A hash over identifiers and times.
DIGEST = re.compile(r"[0-9a-f]{8}")
# A name that the server makes up: adjective, animal, number.
MADE_UP = re.compile(r"[a-z]+-[a-z]+-\d{1,4}")
DAY = 86400


def plain(message):
    return SET.sub(sorted_set, DATABASE.sub("", message))


def sorted_set(found):
    return "{" + ", ".join(sorted(found[1].split(", "))) + "}"


def is_now(value):
    """A number or a text that is a time within a day of now, in seconds, milliseconds or nanoseconds."""
    now = time.time()
    if isinstance(value, str) and RFC3339.fullmatch(value):
        try:
            moment = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return False
        return abs((moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp() - now) < DAY
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return any(abs(value / unit - now) < DAY for unit in (1, 1e3, 1e9))


class Names:
    """Which identifier of the one server is which of the other."""

    def __init__(self):
        self.there = {}
        self.here = {}
        self.tokens = {}

    def bind(self, ours, theirs):
        self.there[ours] = theirs
        self.here[theirs] = ours

    def bind_token(self, ours, theirs):
        """A page token, as it stands in a body and as it stands in a query."""
        self.tokens[ours] = theirs
        self.tokens[quote_plus(ours)] = quote_plus(theirs)

    def same(self, ours, theirs):
        """Whether two texts are the same but for identifiers; binds those that are new on both sides."""
        if ours == theirs:
            return True
        if MADE_UP.fullmatch(ours) and MADE_UP.fullmatch(theirs) and ours not in self.there and theirs not in self.here:
            self.bind(ours, theirs)
            return True
        if self.there.get(ours) == theirs:
            return True
        mine, yours = IDENTIFIER.findall(ours), IDENTIFIER.findall(theirs)
        if len(mine) != len(yours) or IDENTIFIER.sub("#", ours) != IDENTIFIER.sub("#", theirs):
            return False
        for one, other in zip(mine, yours):
            if one not in self.there and other not in self.here and one != other:
                self.bind(one, other)
            elif self.there.get(one, one) != other:
                return False
        return True

    def translate(self, text):
        """A request's text, with the first server's identifiers made the second's."""
        for ours in TOKEN.findall(text):
            if ours in self.tokens:
                text = text.replace(ours, self.tokens[ours])
        return IDENTIFIER.sub(lambda found: self.there.get(found[0], found[0]), text)


def key_of(item, by):
    if by is None or not isinstance(item, dict):
        return IDENTIFIER.sub("#", json.dumps(item, sort_keys=True))
    names = (by,) if isinstance(by, str) else by
    found = [json.dumps(item.get(name, ""), sort_keys=True) for name in names]
    return IDENTIFIER.sub("#", "\0".join(found))


def by_a_millisecond(*durations):
    """Whether two durations are the same but for how they are cut. The SDK sends a trace's head and its spans at once; of
    which comes last MLflow takes it, cut from the difference of nanoseconds or as a difference of cut times."""
    cut = [re.fullmatch(r"(\d+)(?:\.(\d{3}))?s", duration) for duration in durations if isinstance(duration, str)]
    if len(cut) != 2 or not all(cut):
        return False
    one, other = (int(match[1]) * 1000 + int(match[2] or 0) for match in cut)
    return abs(one - other) <= 1


def differences(ours, theirs, names, path="", field=""):
    """The places where two JSON values differ: `(path, value, value)`, with list positions as `[]`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in theirs:
                yield inner, ours[key], ABSENT
            elif key not in ours:
                yield inner, ABSENT, theirs[key]
            else:
                yield from differences(ours[key], theirs[key], names, inner, key)
        return
    if isinstance(ours, list) and isinstance(theirs, list):
        if field in UNORDERED:
            by = UNORDERED[field]
            ours, theirs = (sorted(items, key=lambda item: key_of(item, by)) for items in (ours, theirs))
        if len(ours) != len(theirs):
            yield f"{path}[]", f"{len(ours)} items", f"{len(theirs)} items"
        for one, other in zip(ours, theirs):
            yield from differences(one, other, names, f"{path}[]", field if isinstance(one, list) else "")
        return
    if type(ours) is type(theirs) and ours == theirs:
        return
    if field == "execution_duration" and by_a_millisecond(ours, theirs):
        return
    if field == "next_page_token" and isinstance(ours, str) and isinstance(theirs, str) and ours and theirs:
        names.bind_token(ours, theirs)
        return
    if field == "digest" and isinstance(ours, str) and isinstance(theirs, str) and DIGEST.fullmatch(ours) and DIGEST.fullmatch(theirs):
        return
    if type(ours) is type(theirs) and is_now(ours) and is_now(theirs):
        return
    if isinstance(ours, str) and isinstance(theirs, str):
        if names.same(ours, theirs) or names.same(plain(ours), plain(POSITION.sub("", theirs))):
            return
        # JSON within JSON: tags and attributes hold it, and the order of its keys is nobody's.
        inner = [parsed(text) for text in (ours, theirs)]
        if all(isinstance(value, (dict, list)) for value in inner):
            yield from differences(*inner, names, path, field)
            return
    yield path, ours, theirs


STAMPED = {"mlflow.user", "user_id", "created_by", "last_updated_by", "completed_by"}


def without_callers(value):
    if isinstance(value, list):
        return [without_callers(item) for item in value if not (isinstance(item, dict) and item.get("key") == "mlflow.user")]
    if isinstance(value, dict):
        human = value.get("source_type") == "HUMAN"
        kept = {key: without_callers(item) for key, item in value.items() if key not in STAMPED and not (human and key == "source_id")}
        # An empty map or list of what had only that in it is not written at all.
        return {key: item for key, item in kept.items() if item or value[key] == item}
    return value


class Absent:
    def __repr__(self):
        return "(absent)"


ABSENT = Absent()


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None
