"""Two nginx of our own: a trivial fast upstream, and the proxies that Tracegate is compared with."""

import json
import os
import shutil
import socket
from pathlib import Path

COMMON = """
daemon off;
pid {directory}/{name}.pid;
error_log {directory}/{name}-error.log warn;
worker_processes {workers};
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  client_max_body_size 0;
  client_body_temp_path {directory}/{name}-body;
  proxy_temp_path {directory}/{name}-proxy;
  fastcgi_temp_path {directory}/{name}-fastcgi;
  uwsgi_temp_path {directory}/{name}-uwsgi;
  scgi_temp_path {directory}/{name}-scgi;
{servers}
}}
"""

# Answers what a look-up of Tracegate's asks (whose is this trace?) as MLflow would.
UPSTREAM = """
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    location = /health {{ default_type text/plain; return 200 "OK"; }}
    location = /version {{ default_type text/plain; return 200 "3.17.2"; }}
    # `return` answers without reading the body, which for a large one breaks the proxies before it
    # off; those go where the body is read first.
    location = /v1/traces {{
      default_type application/x-protobuf;
      if ($content_length ~ "[0-9][0-9][0-9][0-9][0-9][0-9][0-9]") {{ rewrite ^ /read-all last; }}
      return 200 "";
    }}
    location = /read-all {{
      internal;
      proxy_pass http://127.0.0.1:{port}/health; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_method GET;
    }}
    location = /api/2.0/mlflow/experiments/get {{ return 200 '{experiment}'; }}
    location = /api/3.0/mlflow/traces/get {{ root {directory}/large; try_files /trace.json =404; }}
    location = /api/3.0/mlflow/traces/{trace_id} {{ return 200 '{trace}'; }}
    location / {{ return 404 '{{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such trace"}}'; }}
  }}
"""

PROXIES = """
  upstream fast {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  upstream judge {{ server 127.0.0.1:{judge}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{judge} backlog=4096; location / {{ return 204; }} }}
  server {{
    listen 127.0.0.1:{plain} backlog=4096;
    location / {{
      proxy_pass http://fast; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
    }}
  }}
  server {{
    listen 127.0.0.1:{asking} backlog=4096;
    location / {{
      auth_request /judge;
      proxy_pass http://fast; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;
    }}
    location = /judge {{
      internal;
      proxy_pass http://judge; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
  }}
"""


def trace_info(trace_id, experiment):
    """About what MLflow answers for a small trace: 1 kB."""
    return json.dumps({"trace": {"trace_info": {
        "trace_id": trace_id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z", "execution_duration": "0.118s", "state": "OK",
        "trace_metadata": {"mlflow.trace_schema.version": "3", "mlflow.traceInputs": "in " * 60, "mlflow.traceOutputs": "out " * 60},
        "tags": {"mlflow.traceName": "answer", "mlflow.artifactLocation": f"mlflow-artifacts:/{experiment}/traces/{trace_id}/artifacts"},
        "request_preview": "in " * 20, "response_preview": "out " * 20,
    }}})


def experiment_info(experiment):
    return json.dumps({"experiment": {
        "experiment_id": experiment, "name": "support-bot", "artifact_location": f"mlflow-artifacts:/{experiment}",
        "lifecycle_stage": "active",
    }})


def write_large_trace(directory, trace_id, experiment, megabytes):
    path = Path(directory) / "large" / "trace.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    trace = json.loads(trace_info(trace_id, experiment))
    trace["trace"]["spans"] = [{"name": "large", "attributes": {"text": "x" * (megabytes * 1024 * 1024)}}]
    path.write_text(json.dumps(trace))


def program():
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise SystemExit("error: nginx was not found; run tests/setup/bench_tools.sh")
    return found


def start(processes, name, directory, port, servers, workers):
    """`processes` is the client tests' harness, which knows how to start and stop a server."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # As root nginx drops to a user that must get at the files.
    user = "user root;\n" if os.geteuid() == 0 else ""
    configuration = directory / f"{name}.conf"
    configuration.write_text(user + COMMON.format(name=name, directory=directory, workers=workers, servers=servers))
    command = [program(), "-c", configuration, "-p", directory, "-e", directory / f"{name}-error.log"]

    def ready():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return processes.start(
        name, command, f"http://127.0.0.1:{port}", directory / f"{name}.log",
        processes.clean_environment(), directory, ready, 20,
    )
