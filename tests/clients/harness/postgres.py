"""A real PostgreSQL server on a free port, in a temporary directory of its own."""

import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from . import processes


def _programs():
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise RuntimeError("no PostgreSQL server was found: apt-get install postgresql")


def program(name):
    """A program of PostgreSQL's, such as psql."""
    return shutil.which(name) or str(_programs() / name)


def start(directory):
    """Stop it with `.stop(signal.SIGQUIT)`. `details["url"]` is a database URL."""
    directory = Path(directory)
    directory.mkdir(parents=True)
    programs, prefix = _programs(), []
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root: it runs as the user that its package made.
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(directory, "postgres", "postgres")
        for parent in directory.parents:
            if parent.owner() == "root" and str(parent).startswith("/tmp/"):
                parent.chmod(0o755)
    data = directory / "data"
    made = [*prefix, programs / "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D", data]
    subprocess.run([str(part) for part in made], check=True, stdout=sys.stderr, cwd="/")
    port = processes.free_port()
    command = [
        *prefix, programs / "postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1",
        "-c", f"unix_socket_directories={directory}", "-c", "fsync=off",
    ]
    log = directory.parent / f"{directory.name}.log"
    server = processes.start(
        "postgres", command, "", log, processes.clean_environment(), "/",
        lambda: "ready to accept connections" in log.read_text(errors="replace"), 60,
    )
    server.details["url"] = f"postgres://postgres@127.0.0.1:{port}/postgres"
    return server


def database(server):
    """The URL of a new database, for those who would be in each other's way."""
    url, name = server.details["url"], f"fresh_{uuid.uuid4().hex[:12]}"
    command = [program("psql"), "--no-psqlrc", "--quiet", url, "--command", f"CREATE DATABASE {name}"]
    subprocess.run(command, check=True, stdout=sys.stderr, cwd="/")
    return f"{url.rsplit('/', 1)[0]}/{name}"


def stop(server):
    server.stop(signal.SIGQUIT)
