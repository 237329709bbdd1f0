"""Other readers and writers of Delta tables, and an S3 that fails now and then; run in an environment of its own.

    lake_tools.py read PLACE            rows of a table as delta-rs and as DuckDB read them, as one JSON object
    lake_tools.py write PLACE ROWS      appends rows (JSON) as delta-rs writes them
    lake_tools.py make PLACE ROWS       makes a table of rows
    lake_tools.py s3 PORT EVERY         an S3 on 127.0.0.1 with the bucket `lake`; one in EVERY requests fails; what its
                                        token service is asked goes into the file STS_NOTES
"""

import json
import sys


def storage_options():
    import os

    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ALLOW_HTTP")
    return {name: os.environ[name] for name in names if name in os.environ}


def read(place):
    import deltalake
    import duckdb

    table = deltalake.DeltaTable(place, storage_options=storage_options())
    rows = table.to_pyarrow_table()
    files = [uri.removeprefix("file://") for uri in table.file_uris()]
    answer = {"delta": plain(rows), "version": table.version(), "files": len(files)}
    if files and not place.startswith("s3:"):
        answer["duckdb"] = plain(duckdb.read_parquet(files).to_arrow_table())
    json.dump(answer, sys.stdout)


def plain(table):
    import base64
    import datetime

    def simple(value):
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, datetime.date):
            return value.isoformat()
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if isinstance(value, dict):
            return {key: simple(one) for key, one in value.items()}
        # Maps come as lists of pairs.
        if isinstance(value, (list, tuple)):
            return [simple(one) for one in value]
        return value

    return [{key: simple(value) for key, value in row.items()} for row in table.to_pylist()]


def write(place, rows):
    import deltalake
    import pyarrow

    schema = deltalake.DeltaTable(place, storage_options=storage_options()).to_pyarrow_table().schema
    given = pyarrow.Table.from_pylist(json.loads(rows), schema=schema)
    deltalake.write_deltalake(place, given, mode="append", storage_options=storage_options())


def make(place, rows):
    import deltalake
    import pyarrow

    deltalake.write_deltalake(place, pyarrow.Table.from_pylist(json.loads(rows)), storage_options=storage_options())


def s3(port, every):
    """moto behind a server that answers one in so many requests with an error: before it is done, or after."""
    import io
    import os
    import random

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server
    from werkzeug.wrappers import Response

    inner = DomainDispatcherApplication(create_backend_app)
    chance = random.Random(7)
    notes = os.environ.get("STS_NOTES")

    def application(environ, start):
        # One address for both, as some stores have it: a form at the root is a question to the token service.
        if notes and environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            with open(notes, "ab") as file:
                file.write(body + b"\n")
        fails = every and environ["PATH_INFO"].count("/") > 1 and chance.randrange(every) == 0
        if fails and chance.random() < 0.5:
            return Response("<Error><Code>SlowDown</Code></Error>", 503)(environ, start)
        if not fails:
            return inner(environ, start)
        Response.from_app(inner, environ)
        return Response("<Error><Code>InternalError</Code></Error>", 500)(environ, start)

    server = make_server("127.0.0.1", port, application, threaded=True)
    print(json.dumps({"port": server.port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "s3":
        s3(int(arguments[0]), int(arguments[1]))
    else:
        {"read": read, "write": write, "make": make}[command](*arguments)
