#!/usr/bin/env python3
"""Prints `METHOD PATH` for every route that the installed MLflow serves, its basic-auth app included.

Run it with the interpreter that MLflow is installed in. Nothing is listened on; the state that MLflow
wants lies in a temporary directory.
"""

import os
import secrets
import sys
import tempfile
import types
from pathlib import Path


def prepare(folder):
    """Gives MLflow a store and an account table of its own."""
    config = folder / "auth.ini"
    config.write_text(
        "[mlflow]\n"
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        "admin_username = admin\n"
        f"admin_password = {secrets.token_hex(16)}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    os.environ.update(
        MLFLOW_AUTH_CONFIG_PATH=str(config),
        MLFLOW_FLASK_SERVER_SECRET_KEY="only-for-listing",
        _MLFLOW_SERVER_FILE_STORE=f"sqlite:///{folder}/store.db",
        _MLFLOW_SERVER_REGISTRY_STORE=f"sqlite:///{folder}/store.db",
        _MLFLOW_SERVER_ARTIFACT_ROOT=f"{folder}/artifacts",
        _MLFLOW_SERVER_SERVE_ARTIFACTS="true",
        _MLFLOW_SERVER_ARTIFACT_DESTINATION=f"{folder}/artifacts",
    )
    try:
        import flask_wtf.csrf  # noqa: F401
    except ModuleNotFoundError:
        # The basic-auth app wants it for its one form; its routes do not depend on it.
        stub = types.ModuleType("flask_wtf.csrf")
        stub.CSRFProtect = type("CSRFProtect", (), {"init_app": lambda *_: None, "exempt": lambda _, view: view})
        stub.generate_csrf = lambda: ""
        sys.modules["flask_wtf"] = types.ModuleType("flask_wtf")
        sys.modules["flask_wtf.csrf"] = stub


def unwrap(app):
    """The FastAPI and Flask applications inside whatever `create_app` answers."""
    from fastapi import FastAPI
    from flask import Flask

    flask = fast = None
    seen, queue = set(), [app]
    while queue:
        part = queue.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Flask):
            flask = part
        elif isinstance(part, FastAPI):
            fast = part
            queue.extend(getattr(route, "app", None) for route in part.routes)
        elif hasattr(part, "__dict__"):
            queue.extend(value for value in vars(part).values() if hasattr(value, "__dict__"))
    return flask, fast


def fastapi_routes(routes, prefix=""):
    """Method and path of each route; newer FastAPI keeps included routers whole, older flattens them."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from fastapi_routes(included.routes, prefix + route.include_context.prefix)
        for method in (getattr(route, "methods", None) or set()) - {"HEAD", "OPTIONS"}:
            yield method, prefix + route.path


def main():
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        from mlflow.server import app as flask_app
        from mlflow.server.auth import create_app
        from mlflow.server.fastapi_app import create_fastapi_app

        flask, fast = unwrap(create_app(flask_app))
        flask = flask or flask_app
        fast = fast or create_fastapi_app(flask)
        routes = set()
        for rule in flask.url_map.iter_rules():
            routes.update((method, rule.rule) for method in rule.methods - {"HEAD", "OPTIONS"})
        routes.update(fastapi_routes(fast.routes))
        for method, path in sorted(routes):
            print(method, path)


main()
