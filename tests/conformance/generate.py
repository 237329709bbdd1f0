"""Random sequences of calls over a small world, the same for the same seed.

The generator knows which things it made and mostly calls what exists, sometimes what is gone or never was.
Times are distinct, so that every order that is asked for is a whole one.
"""

import json
import random

from material import otlp, span, start, trace_id

V3 = "/api/3.0/mlflow/traces"
KEYS = ["team", "Team", "with.dot", "odd key", "n"]
TEXTS = ["red", "Red", "blue", "", "it's", "50%", "a_b", "ü", "5", "0.5", "true"]
NAMES = ["chat", "Chat", "search", "look_up"]
SPAN_TYPES = ["LLM", "TOOL", "AGENT", "CHAT_MODEL"]


class World:
    def __init__(self, m, seed, tag):
        self.m, self.random = m, random.Random(seed)
        self.seed = f"{seed}-{tag}"
        self.clock = 0
        self.experiments = [self.make_experiment(number) for number in range(2)]
        self.traces, self.runs, self.assessments = [], [], []
        # Of traces that had spans before StartTrace, MLflow tells other times than of those that had them after.
        self.with_spans = set()

    def make_experiment(self, number):
        return self.m.post("experiments/create", name=f"world-{self.seed}-{number}")["experiment_id"]

    # --- small choices --------------------------------------------------------------------

    def one(self, things):
        return self.random.choice(things)

    def maybe(self, chance):
        return self.random.random() < chance

    def tick(self):
        self.clock += self.random.randint(1, 50)
        return self.clock

    def trace(self):
        """`(id, experiment)`; now and then of a trace that nobody started."""
        if not self.traces or self.maybe(0.03):
            return trace_id("nobody", self.seed), self.one(self.experiments)
        return self.one(self.traces)

    def run(self):
        return self.one(self.runs) if self.runs and not self.maybe(0.03) else "f" * 32

    def tags(self):
        return {key: self.one(TEXTS) for key in self.random.sample(KEYS, self.random.randint(0, 3))}

    def pairs(self):
        return [{"key": key, "value": value} for key, value in self.tags().items()]

    def quoted(self):
        text = self.one(TEXTS)
        return f'"{text}"' if "'" in text or self.maybe(0.1) else f"'{text}'"

    def key(self):
        key = self.one(KEYS)
        return f"`{key}`" if " " in key or self.maybe(0.3) else key

    # --- the grammar of filters -----------------------------------------------------------

    def trace_filter(self):
        return " AND ".join(self.trace_clause() for _ in range(self.one([1, 1, 1, 2, 2, 3])))

    def trace_clause(self):
        like = lambda: self.one(["'%e%'", "'r%'", "'R%'", "'%'", "'_ed'", "'a\\_b'", "'%ü%'"])  # noqa: E731
        return self.one([
            lambda: f"status {self.one(['=', '!='])} '{self.one(['OK', 'ERROR', 'IN_PROGRESS'])}'",
            lambda: f"{self.one(['timestamp_ms', 'trace.timestamp', 'attributes.timestamp_ms'])} {self.one(['>', '<', '>=', '<=', '=', '!='])} {1672531200000 + self.random.randint(0, self.clock + 1) * 1000}",
            lambda: f"{self.one(['execution_time_ms', 'execution_time'])} {self.one(['>', '<', '>=', '<='])} {self.random.randint(0, 5000)}",
            lambda: f"name {self.one(['=', '!='])} '{self.one(NAMES)}'", lambda: f"name {self.one(['LIKE', 'ILIKE'])} '{self.one(['c%', 'C%', '%a%'])}'",
            lambda: f"tags.{self.key()} {self.one(['=', '!='])} {self.quoted()}", lambda: f"tag.{self.key()} {self.one(['LIKE', 'ILIKE', 'RLIKE'])} {like()}", lambda: f"tags.{self.key()} IS {self.one(['NULL', 'NOT NULL'])}",
            lambda: f"metadata.{self.key()} {self.one(['=', '!='])} {self.quoted()}", lambda: f"request_metadata.{self.key()} {self.one(['LIKE', 'ILIKE'])} {like()}", lambda: f"metadata.{self.key()} IS {self.one(['NULL', 'NOT NULL'])}",
            lambda: f"run_id = '{self.run()}'", lambda: f"request_id {self.one(['=', '!='])} '{self.trace()[0]}'", lambda: f"request_id {self.one(['IN', 'NOT IN'])} ('{self.trace()[0]}', '{self.trace()[0]}')", lambda: f"client_request_id = 'c{self.random.randint(0, 9)}'",
            lambda: f"span.name {self.one(['=', '!='])} '{self.one(NAMES)}'", lambda: f"span.name {self.one(['LIKE', 'ILIKE'])} '{self.one(['c%', 'C%', '%a%'])}'", lambda: f"span.type {self.one(['=', '!='])} '{self.one(SPAN_TYPES)}'", lambda: f"span.type IN ('{self.one(SPAN_TYPES)}', 'X')", lambda: f"span.status = '{self.one(['OK', 'ERROR', 'UNSET'])}'",
            lambda: f"span.attributes.model {self.one(['=', '!='])} '{self.one(['m0', 'm1'])}'", lambda: f"span.attributes.model LIKE 'm%'", lambda: f"trace.text {self.one(['LIKE', 'ILIKE'])} '%{self.one(['word 3', 'WORD', 'a_b', 'ü'])}%'",
            lambda: f"feedback.quality {self.one(['=', '!='])} '{self.one(['good', '0.5', 'true', '3'])}'", lambda: f"feedback.score {self.one(['>', '<=', '<', '>='])} {self.random.randint(0, 5)}", lambda: f"feedback.{self.one(['quality', 'score'])} IS {self.one(['NULL', 'NOT NULL'])}", lambda: f"expectation.expected {self.one(['=', 'LIKE'])} 'e%'",
            lambda: self.one(["bogus = 'x'", "tags.team", "status = OK", "span.bogus = 'x'", "feedback.quality > 'x'", "status == 'OK'"]) if self.maybe(0.3) else "status = 'OK'",
        ])()

    def trace_order(self):
        # Not by runs: their ids are others on each server.
        return self.random.sample([f"{name} {way}" for name in ("timestamp_ms", "execution_time_ms", "status", "name", "tags.team", "metadata.n") for way in ("ASC", "DESC")], self.one([0, 1, 1, 2]))

    def run_filter(self):
        return " AND ".join(self.run_clause() for _ in range(self.one([1, 1, 2])))

    def run_clause(self):
        return self.one([
            lambda: f"metrics.{self.one(['loss', 'acc', 'none'])} {self.one(['>', '<', '>=', '<=', '=', '!='])} {self.one([0, 0.5, 1, -1])}", lambda: f"params.{self.key()} {self.one(['=', '!='])} {self.quoted()}", lambda: f"params.{self.key()} {self.one(['LIKE', 'ILIKE'])} 'r%'",
            lambda: f"tags.{self.key()} {self.one(['=', '!='])} {self.quoted()}", lambda: f"tags.{self.key()} LIKE '%e%'", lambda: f"status {self.one(['=', '!='])} '{self.one(['RUNNING', 'FINISHED', 'FAILED'])}'", lambda: f"start_time {self.one(['>', '<='])} {self.random.randint(0, self.clock + 1)}", lambda: f"run_name {self.one(['LIKE', 'ILIKE'])} 'c%'", lambda: f"params.{self.key()} IS {self.one(['NULL', 'NOT NULL'])}",
            lambda: self.one(["bogus = 'x'", "metrics.loss > 'x'", "params.x > '1'"]) if self.maybe(0.3) else "status = 'RUNNING'",
        ])()

    # --- calls ----------------------------------------------------------------------------

    def start_trace(self):
        at = self.tick()
        if self.traces and self.maybe(0.15):
            t, e = self.one(self.traces)
            if t in self.with_spans:
                return
        else:
            t, e = trace_id(self.seed, len(self.traces)), self.one(self.experiments)
            self.traces.append((t, e))
        tags = self.tags()
        if self.maybe(0.7):
            tags["mlflow.traceName"] = self.one(NAMES)
        metadata = self.tags()
        if self.runs and self.maybe(0.3):
            metadata["mlflow.sourceRun"] = self.one(self.runs)
        seconds, minutes = at % 60, at // 60
        start(
            self.m, t, e, request_time=f"2023-01-01T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{self.random.randint(0, 999):03}Z", execution_duration=self.one([None, "0.5s", "1s", "3.25s", f"{len(self.traces)}.001s"]),
            state=self.one(["OK", "OK", "ERROR", "IN_PROGRESS"]), tags=tags, metadata=metadata, request_preview=self.one([None, "word 3", "ü"]), client_request_id=self.one([None, None, f"c{self.random.randint(0, 9)}"]),
        )

    def export(self):
        t, e = self.trace()
        number = self.random.randint(1, 6)
        spans = []
        for n in range(number, number + self.one([1, 1, 2, 4])):
            spans.append(span(
                t, n, parent=self.one([None, 1, n - 1]) if n > 1 else None, name=self.one(NAMES), at=self.tick(), takes=self.one([5, 1000, 70000, None if self.maybe(0.2) else 1]), status=self.one([None, "OK", "ERROR", "UNSET"]),
                attributes={"mlflow.spanType": json.dumps(self.one(SPAN_TYPES)), "model": self.one(["m0", "m1"]), "mlflow.spanInputs": json.dumps({"text": f"word {self.random.randint(0, 5)} a_b ü"})} if self.maybe(0.8) else {"x": self.one([1, 1.5, True, "y", [1, 2], {"a": 1}])},
                events=[{"name": "exception", "attributes": {"exception.message": "m"}}] if self.maybe(0.2) else [],
            ))
        otlp(self.m, e, spans)
        self.with_spans.add(t)

    def read_trace(self):
        t, _ = self.trace()
        self.one([lambda: self.m.get(f"{V3}/{t}"), lambda: self.m.get(f"{V3}/get", trace_id=t), lambda: self.m.get(f"{V3}/batchGet", trace_ids=[t, self.trace()[0]]), lambda: self.m.post(f"{V3}/batchGetInfos", trace_ids=[self.trace()[0], t]), lambda: self.m.get(f"/api/2.0/mlflow/traces/{t}/info"), lambda: self.m.get(f"{V3}/get", trace_id=t, allow_partial="true")])()

    def search_traces(self):
        places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": e}} for e in self.random.sample(self.experiments, self.one([1, 1, 2]))]
        body = {"locations": places, "max_results": self.one([2, 5, 100])}
        if self.maybe(0.85):
            body["filter"] = self.trace_filter()
        if order := self.trace_order():
            body["order_by"] = order
        token = None
        for _ in range(self.one([1, 3])):
            page = self.m.post(f"{V3}/search", {**body, **({"page_token": token} if token else {})})
            token = page["next_page_token"]
            if not token:
                break

    def tag_trace(self):
        t, _ = self.trace()
        if self.maybe(0.7):
            self.m.patch(f"{V3}/{t}/tags", key=self.one(KEYS), value=self.one(TEXTS))
        else:
            self.m.delete(f"{V3}/{t}/tags", key=self.one(KEYS))

    def assess(self):
        t, _ = self.trace()
        name = self.one(["quality", "score", "expected"])
        value = {"quality": self.one(["good", 0.5, True, None, "3"]), "score": self.random.randint(0, 5), "expected": "e1"}[name]
        at = f"2023-01-02T00:{self.tick() // 60 % 60:02}:{self.clock % 60:02}.{len(self.assessments):03}Z"
        body = {"assessment_name": name, "trace_id": t, "source": {"source_type": self.one(["HUMAN", "CODE", "LLM_JUDGE"]), "source_id": "s"}, "create_time": at, "last_update_time": at, ("expectation" if name == "expected" else "feedback"): {"value": value}}
        mine = [known for trace, known in self.assessments if trace == t]
        if mine and self.maybe(0.2):
            body["overrides"] = self.one(mine)
        made = self.m.post(f"{V3}/{t}/assessments", assessment=body)["assessment"]["assessment_id"]
        if made:
            self.assessments.append((t, made))

    def change_assessment(self):
        if not self.assessments:
            return
        t, known = self.one(self.assessments)
        path = f"{V3}/{t}/assessments/{known}"
        self.one([lambda: self.m.get(path), lambda: self.m.patch(path, assessment={"rationale": self.one(TEXTS)}, update_mask="rationale"), lambda: self.m.patch(path, assessment={"feedback": {"value": self.random.randint(0, 5)}}, update_mask="feedback"), lambda: self.m.delete(path)])()

    def delete_traces(self):
        e = self.one(self.experiments)
        if self.maybe(0.5):
            self.m.post(f"{V3}/delete-traces", experiment_id=e, request_ids=[self.trace()[0] for _ in range(self.one([1, 2]))])
        else:
            self.m.post(f"{V3}/delete-traces", experiment_id=e, max_timestamp_millis=1672531200000 + self.random.randint(0, self.clock) * 1000, max_traces=self.one([1, 2]))

    def make_run(self):
        e = self.one(self.experiments)
        run = self.m.post("runs/create", experiment_id=e, start_time=self.tick(), run_name=self.one(NAMES), tags=self.pairs())["run"]["info"]["run_id"]
        if run:
            self.runs.append(run)

    def write_run(self):
        run = self.run()
        self.one([
            lambda: self.m.post("runs/log-batch", run_id=run, metrics=[{"key": self.one(["loss", "acc"]), "value": self.one([0, 0.5, 1, -1, 2.5]), "timestamp": self.tick(), "step": self.random.randint(0, 3)} for _ in range(self.one([1, 3]))], params=self.pairs() if self.maybe(0.5) else [], tags=self.pairs()),
            lambda: self.m.post("runs/log-metric", run_id=run, key="loss", value=self.one([0, 0.5, 1]), timestamp=self.tick(), step=self.random.randint(0, 3)), lambda: self.m.post("runs/log-parameter", run_id=run, key=self.one(KEYS), value=self.one(TEXTS)), lambda: self.m.post("runs/set-tag", run_id=run, key=self.one(KEYS), value=self.one(TEXTS)),
            lambda: self.m.post("runs/delete-tag", run_id=run, key=self.one(KEYS)), lambda: self.m.post("runs/update", run_id=run, status=self.one(["FINISHED", "FAILED", "RUNNING"]), end_time=self.tick()), lambda: self.m.post(f"runs/{self.one(['delete', 'restore', 'restore'])}", run_id=run),
        ])()

    def read_run(self):
        run = self.run()
        self.one([lambda: self.m.get("runs/get", run_id=run), lambda: self.m.get("metrics/get-history", run_id=run, metric_key="loss")])()

    def search_runs(self):
        body = {"experiment_ids": self.experiments[:self.one([1, 2])], "run_view_type": self.one(["ACTIVE_ONLY", "ALL", "DELETED_ONLY"]), "max_results": self.one([2, 50])}
        if self.maybe(0.8):
            body["filter"] = self.run_filter()
        if self.maybe(0.6):
            body["order_by"] = self.random.sample([f"{name} {way}" for name in ("metrics.loss", "metrics.acc", "params.team", "tags.team", "start_time", "end_time", "status", "run_name") for way in ("ASC", "DESC")], self.one([1, 2]))
        token = None
        for _ in range(self.one([1, 3])):
            page = self.m.post("runs/search", {**body, **({"page_token": token} if token else {})})
            token = page["next_page_token"]
            if not token:
                break

    def link(self):
        self.m.post("traces/link-to-run", trace_ids=[self.trace()[0]], run_id=self.run())

    def change_experiment(self):
        e = self.one(self.experiments)
        self.one([
            lambda: self.m.post("experiments/set-experiment-tag", experiment_id=e, key=self.one(KEYS), value=self.one(TEXTS)), lambda: self.m.post("experiments/delete-experiment-tag", experiment_id=e, key=self.one(KEYS)), lambda: self.m.get("experiments/get", experiment_id=e),
            lambda: (self.m.post("experiments/delete", experiment_id=e), self.call(), self.call(), self.m.post("experiments/restore", experiment_id=e)) if self.maybe(0.2) else None,
        ])()

    def metrics(self):
        view, name = self.one([("TRACES", "trace_count"), ("TRACES", "latency"), ("SPANS", "span_count"), ("SPANS", "latency"), ("ASSESSMENTS", "assessment_count"), ("ASSESSMENTS", "assessment_value")])
        kind = "COUNT" if name.endswith("count") else self.one(["AVG", "COUNT", "MIN", "MAX", "SUM"])
        dimension = {"TRACES": ["trace_name", "trace_status"], "SPANS": ["span_name", "span_type", "span_status"], "ASSESSMENTS": ["assessment_name"]}[view]
        self.m.post(f"{V3}/metrics", experiment_ids=[self.one(self.experiments)], view_type=view, metric_name=name, aggregations=[{"aggregation_type": kind}], dimensions=self.random.sample(dimension, self.one([0, 1])))

    CALLS = {
        start_trace: 14, export: 14, read_trace: 12, search_traces: 22, tag_trace: 8, assess: 9, change_assessment: 6, delete_traces: 2,
        make_run: 5, write_run: 12, read_run: 5, search_runs: 12, link: 2, change_experiment: 4, metrics: 4,
    }

    def call(self):
        self.random.choices(list(self.CALLS), list(self.CALLS.values()))[0](self)


def play(m, seed, tag, calls):
    world = World(m, seed, tag)
    for _ in range(calls):
        world.call()
