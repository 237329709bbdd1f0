"""What came of it, counted exactly: each count that must be zero, and figures that are only told."""

import json
import math
import re
import sqlite3
import subprocess
from collections import Counter, defaultdict

from cluster import STALENESS_MS, TOKEN_CACHE_SECONDS
from harness import processes

import ledger as ledgers

OUTAGE = {502, 503, 504}
LIMIT_PER_SECOND = 2
KEPT = 5
SPANS_FILE = re.compile(r"/mlflow-artifacts/artifacts/.*/traces/(tr-[0-9a-f]+)/artifacts/traces\.json$")
DECISION = re.compile(r'decision_id="([0-9a-f-]{36})"')


class Verdict:
    """`wrong` holds, by name, what must be empty: for each, how often, and the first few."""

    def __init__(self, cluster, happened, seconds):
        self.cluster, self.happened, self.seconds = cluster, happened, seconds
        self.calls, self.facts = [], defaultdict(list)
        for line in ledgers.read(cluster.directory / "ledgers"):
            if line["kind"] == "call":
                self.calls.append(line)
            elif line["kind"] == "fact":
                self.facts[line["what"]].append(line)
        self.answered = [call for call in self.calls if "status" in call]
        self.wrong, self.told = {}, {}

    def _must_be_empty(self, name, found):
        found = list(found)
        self.wrong[name] = {"count": len(found), "first": found[:KEPT]}

    def count(self):
        """While PostgreSQL and MLflow are still there, and the gateways stopped."""
        self._migration()
        self._decisions()
        self._changing_rights()
        self._tokens()
        self._limits()
        self._writes()
        self._audit()
        self._shutdown()
        self._failures()
        self._outages()

    def _unidentified(self):
        """The decisions by which callers were refused whom the gateway could not identify, by its own log."""
        found = set()
        for replica in self.cluster.replicas:
            for line in replica.server.log_text().splitlines():
                if "reason=who calls cannot be verified now" in line:
                    found |= set(DECISION.findall(line))
        return found

    # --- decisions --------------------------------------------------------------------

    def _migration(self):
        """Nothing of the state before is gone but what was meant to go: carol's grant comes and goes."""
        from previous_state import contents

        after, missing = contents(self.cluster), []
        for table, keys in self.cluster.before.items():
            missing += [f"{table}: {key}" for key in keys - after[table]]
        self._must_be_empty("rows lost in the migration", missing)

    def _decisions(self):
        """Those whose rights never change: the same answer always, or none for now."""
        wrong, odd, without_spans = [], [], []
        spans_from = {}
        for fact in self.facts["span"]:
            spans_from[fact["trace"]] = min(fact["at"], spans_from.get(fact["trace"], fact["at"]))
        for call in self.answered:
            status, expect = call["status"], call["expect"]
            if status in OUTAGE:
                continue
            trace = SPANS_FILE.search(call["path"])
            if status == 404 and expect == "allow" and trace and call["asked"] < spans_from.get(trace[1], math.inf):
                # The writer got its head acknowledged and its spans not; then the SDK looks for a file of them.
                without_spans.append(call)
                continue
            if expect == "allow" and status != 200:
                (wrong if status in (401, 403) else odd).append(call)
            elif expect == "deny" and status not in (401, 403):
                (wrong if status < 400 else odd).append(call)
            elif expect == "deny" and status == 401:
                wrong.append(call)
            elif expect == "repeated" and status not in (200, 404):
                odd.append(call)
        self._must_be_empty("wrong decisions for rights that never changed", wrong)
        self._must_be_empty("answers of an unexpected kind", odd)
        self.told["reads of traces whose spans were never acknowledged"] = len(without_spans)
        expected = Counter(call["expect"] for call in self.answered if call["status"] not in OUTAGE)
        self.told["decisions judged"] = dict(expected)

    def _policy(self):
        """By the log of changes: was carol allowed at this version?"""
        secret = f"experiment:{self.cluster.experiments['secret-lab']}"
        held, at = False, [False]
        rows = self.cluster.sql("SELECT version, action, before_json, after_json FROM policy_changes ORDER BY version")
        gaps = []
        for number, (version, _, before, after) in enumerate(rows, start=1):
            if int(version) != number:
                gaps.append(f"{version} where {number} should be")
            is_it = [
                isinstance(one, dict) and one.get("principal") == "user:carol" and one.get("securable") == secret
                for one in (json.loads(before), json.loads(after))
            ]
            if any(is_it):
                held = is_it[1]
            at.append(held)
        self._must_be_empty("gaps in the log of policy changes", gaps)
        return at

    def _changing_rights(self):
        """An answer carries the version that decided it, and the log says what was right at that version. An answer
        that was asked for after a change was acknowledged, and the staleness bound is over, is not by an older one."""
        allowed_at = self._policy()
        changes = sorted(
            [(fact["at"], fact["version"], fact["what"] == "granted") for kind in ("granted", "revoked") for fact in self.facts[kind]]
        )
        lost = [f"version {version}" for _, version, granted in changes if version >= len(allowed_at) or allowed_at[version] != granted]
        self._must_be_empty("acknowledged policy changes that are not in the log", lost)
        wrong, stale, older, counts = [], [], [], Counter()
        asked = sorted((call for call in self.answered if call["expect"] == "changing"), key=lambda call: call["asked"])
        known, newest = 0, 0
        for call in asked:
            while known < len(changes) and changes[known][0] + STALENESS_MS / 1000 < call["asked"]:
                newest = max(newest, changes[known][1])
                known += 1
            if call["status"] in OUTAGE:
                continue
            version, allowed = call["version"], call["status"] == 200
            counts["allow" if allowed else "deny"] += 1
            if call["status"] not in (200, 403) or version is None or version >= len(allowed_at) or allowed_at[version] != allowed:
                wrong.append(call)
            elif version < newest:
                stale.append({**call, "acknowledged_version": newest})
            if version is not None and version < call.get("demanded", 0):
                older.append(call)
        self._must_be_empty("decisions that were wrong at their version", wrong)
        self._must_be_empty("decisions by a policy older than the staleness bound", stale)
        self._must_be_empty("decisions older than the version that was demanded", older)
        self.told["changes of policy acknowledged"] = len(changes)
        self.told["decisions while rights changed"] = dict(counts)

    def _tokens(self):
        revoked = {fact["token"]: fact for fact in self.facts["token_revoked"]}
        wrong, counts = [], Counter()
        for call in self.answered:
            if call["expect"] != "token" or call["status"] in OUTAGE:
                continue
            end, good = revoked.get(call["token"]), call["status"] == 200
            counts["good" if good else "refused"] += 1
            if call["status"] not in (200, 401):
                wrong.append(call)
            elif good and end and call["asked"] > end["at"] + TOKEN_CACHE_SECONDS:
                wrong.append({**call, "revoked_at": end["at"]})
            # One whose revocation was under way when the load ended has no end on record.
            elif not good and end and call["came"] < end["asked"]:
                wrong.append({**call, "revocation_asked": end["asked"]})
            elif not good and not end and call["token"] not in self._unfinished():
                wrong.append(call)
        self._must_be_empty("tokens good after their end or refused before", wrong)
        self.told["tokens"] = {"revoked": len(revoked), **counts}

    def _unfinished(self):
        """The token that was in use when the load ended."""
        used = [call["token"] for call in self.calls if call["expect"] == "token"]
        return set(used[-1:])

    def _limits(self):
        """Of any stretch of time: not more than what its seconds, and the two that it touches, allow together."""
        passed = sorted(
            (call["asked_wall"], call["came_wall"]) for call in self.answered if call["expect"] == "limited" and call["status"] == 200
        )
        over = []
        for width in (5, 20):
            for first, (start, _) in enumerate(passed):
                inside = sum(1 for asked, came in passed[first : first + LIMIT_PER_SECOND * (width + 3)] if came <= start + width)
                if inside > LIMIT_PER_SECOND * (width + 2):
                    over.append({"from": start, "seconds": width, "passed": inside})
        self._must_be_empty("stretches in which the replicas together passed a limit", over)
        odd = [call for call in self.answered if call["expect"] == "limited" and call["status"] not in {200, 429, *OUTAGE}]
        self._must_be_empty("wrong answers under a limit", odd)
        refused = sum(1 for call in self.answered if call["expect"] == "limited" and call["status"] == 429)
        self.told["under a limit"] = {"passed": len(passed), "refused": refused}
        self.told["pages continued at another replica"] = len(self.facts["page_of_another"])

    # --- what was acknowledged --------------------------------------------------------

    def _writes(self):
        database = sqlite3.connect(f"file:{self.cluster.directory}/mlflow/mlflow.db?mode=ro", uri=True)
        traces = Counter(database.execute("SELECT request_id, experiment_id FROM trace_info").fetchall())
        spans = Counter(database.execute("SELECT trace_id, span_id FROM spans").fetchall())
        tags = {(trace, key): value for trace, key, value in database.execute("SELECT request_id, key, value FROM trace_tags")}
        refused = [row for row in tags if row[1] == "soak.refused"]
        database.close()
        acknowledged = {(fact["trace"], int(fact["experiment"])) for fact in self.facts["trace"]}
        written = {(fact["trace"], fact["span"]) for fact in self.facts["span"]}
        lost = [f"trace {one} of {of}: {traces[one, of]} times" for one, of in acknowledged if traces[one, of] != 1]
        lost += [f"span {span} of {trace}: {spans[trace, span]} times" for trace, span in written if spans[trace, span] != 1]
        lost += [
            f"tag {fact['key']} of {fact['trace']}" for fact in self.facts["tag"] if tags.get((fact["trace"], fact["key"])) != fact["value"]
        ]
        self._must_be_empty("acknowledged writes that are not there once", lost)
        self._must_be_empty("refused writes that are there", refused)
        self.told["acknowledged writes"] = {"traces": len(acknowledged), "spans": len(written), "tags": len(self.facts["tag"])}

    def _audit(self):
        rows = self.cluster.sql("SELECT decision_id, kind, count(*) FROM audit_events WHERE decision_id IS NOT NULL GROUP BY 1, 2")
        recorded = {decision for decision, _, _ in rows}
        decided = [call for call in self.answered if call.get("decision")]
        missing = [call for call in decided if call["decision"] not in recorded]
        # Of refusals of callers that could not be identified only some have a record of their own; the others are counted.
        unidentified = self._unidentified()
        unknown = [call for call in missing if call["status"] == 401 or call["status"] == 503 and call["decision"] in unidentified]
        unknown_ids = {call["decision"] for call in unknown}
        self._must_be_empty("answered calls without an audit record", [call for call in missing if call["decision"] not in unknown_ids])
        self._must_be_empty("refusals of unknown callers that were not counted", self._uncounted(unknown))
        self._must_be_empty("audit records that are there twice", [row for row in rows if row[1] in ("begin", "complete", "policy_change") and row[2] != "1"])
        silent = [call for call in self.answered if not call.get("decision") and call["path"] not in ("/healthz", "/readyz")]
        self._must_be_empty("answers without a decision id", silent)
        changed = {decision for decision, kind, _ in rows if kind == "policy_change"}
        changes = [
            call for call in decided
            if call["status"] == 200 and call["path"].startswith("/api/tracegate/v1/grants") and call["expect"] == "allow"
        ]
        self._must_be_empty("acknowledged policy changes without a record", [call for call in changes if call["decision"] not in changed])
        broken = []
        for replica in self.cluster.replicas:
            for more in ([], ["--database"]):
                done = subprocess.run(
                    [processes.tracegate_binary(), "audit", "verify", replica.data / "audit", "--config", replica.config, *more],
                    capture_output=True, text=True, timeout=300, env=processes.clean_environment(),
                )
                if done.returncode != 0:
                    broken.append(f"{replica.name} {more}: {done.stdout}{done.stderr}")
        self._must_be_empty("chains that do not verify", broken)
        self.told["audit records"] = int(self.cluster.sql("SELECT count(*) FROM audit_events")[0][0])
        self.told["decisions found in the record"] = len({call["decision"] for call in decided})

    def _uncounted(self, refused):
        """Of each replica and status: more such refusals than its counts say, but for those that the last minute
        before a `kill -9` takes with it."""
        short, counts = [], Counter()
        for replica in self.cluster.replicas:
            # From the last start before each moment; an event begins a moment before its kill.
            killed = [
                event["began"] for event in self.happened
                if event["event"] == "kill_all" or event["event"] == "kill_one" and event["replica"] == replica.name
            ]
            rows = self.cluster.sql(
                "SELECT status, sum((json::jsonb->>'repeated')::bigint) FROM audit_events JOIN audit_positions "
                "ON audit_events.id >> 40 = audit_positions.number "
                f"WHERE replica = '{replica.name}' AND json::jsonb->>'repeated' IS NOT NULL GROUP BY 1"
            )
            counted = {int(status): int(times) for status, times in rows}
            counts.update(counted)
            for status in (401, 503):
                sure = [
                    call for call in refused
                    if call["host"] == replica.address[0] and call["status"] == status
                    and not any(kill - 61 < call["came"] < kill + 5 for kill in killed)
                ]
                if counted.get(status, 0) < len(sure):
                    short.append(f"{replica.name}: {counted.get(status, 0)} counted with {status}, at least {len(sure)} answered")
        self.told["refusals of unknown callers without a record of their own"] = len(refused)
        self.told["of those counted in the record, by status"] = dict(counts)
        return short

    # --- what it was like -------------------------------------------------------------

    def _shutdown(self):
        bad = []
        for event in self.happened:
            bad += [f"exit code {code}" for code in event.get("exit_codes", []) if code != 0]
            bad += [f"a call in flight was answered {status}" for status in event.get("in_flight_statuses", []) if status != 200]
        self._must_be_empty("stops that were not graceful", bad)
        stops = [seconds for event in self.happened for seconds in event.get("stop_seconds", [])]
        self.told["longest graceful stop, s"] = max(stops, default=None)
        hanging = [event["hanging_stop_seconds"] for event in self.happened if "hanging_stop_seconds" in event]
        self.told["longest stop with a call that hangs, s"] = max(hanging, default=None)

    def _failures(self):
        failed = Counter()
        for call in self.calls:
            if "error" in call:
                failed["no answer"] += 1
            elif call["status"] in OUTAGE:
                failed[str(call["status"])] += 1
        self.told["requests"] = len(self.calls)
        self.told["longest wait for an answer, s"] = round(max(call["came"] - call["asked"] for call in self.calls), 2)
        self.told["failed requests"] = dict(failed)

    def _outages(self):
        """Of the client that retries: the longest time between two answers, and during which event it was."""
        served = sorted(fact["at"] for fact in self.facts["served"])
        gaps = [(later - earlier, earlier, later) for earlier, later in zip(served, served[1:], strict=False)]
        by_event = {}
        for event in self.happened:
            inside = [gap for gap, earlier, later in gaps if later > event["began"] and earlier < event["ended"]]
            by_event[event["event"]] = round(max([by_event.get(event["event"], 0), *inside]), 2)
        self.told["longest outage, s"] = round(max((gap for gap, _, _ in gaps), default=self.seconds), 2)
        self.told["longest outage by event, s"] = by_event

    # --- in the end -------------------------------------------------------------------

    def as_json(self):
        return {
            "seconds": self.seconds, "events": self.happened,
            "must_be_zero": {name: found["count"] for name, found in self.wrong.items()},
            "examples": {name: found["first"] for name, found in self.wrong.items() if found["count"]},
            "told": self.told,
        }

    def table(self):
        lines = [f"{'must be 0':<66}"]
        lines += [f"  {name:<62} {found['count']:>6}" for name, found in self.wrong.items()]
        lines.append("measured")
        for name, value in self.told.items():
            value = ", ".join(f"{key} {number}" for key, number in value.items()) if isinstance(value, dict) else value
            lines.append(f"  {name:<40} {value}")
        events = Counter(event["event"] for event in self.happened)
        lines.append("  events: " + ", ".join(f"{name} {number}" for name, number in events.items()))
        return "\n".join(lines)
