"""A gateway with a store of its own to be abused, with TLS or without, and a gentle client of it."""

import contextlib

from harness import abuse, processes


@contextlib.contextmanager
def victim(directory, secure, **environment):
    """Yields a `Victim` and a `Gentle` that has had its first answers."""
    demo = processes.start_demo(directory, None)
    details = demo.details
    demo.stop()
    trusted = None
    if secure:
        from test_tls import LOOPBACK, Authority

        authority = Authority("ours")
        certificate, key = authority.write(directory, "server", LOOPBACK)
        trusted = str(authority.pem(directory / "ours.pem"))
        environment |= {"TRACEGATE__SERVER__TLS_CERTIFICATE": str(certificate), "TRACEGATE__SERVER__TLS_KEY": str(key)}
    port = processes.free_port()
    experiment = str(details["experiments"]["support-bot"])
    server = processes.start(
        "tracegate serve", [processes.tracegate_binary(), "serve"], f"http://127.0.0.1:{port}", directory / "serve.log",
        processes.clean_environment(
            TRACEGATE__SERVER__LISTEN=f"127.0.0.1:{port}", TRACEGATE__SERVER__DATA_DIR=str(directory / "data"),
            # Whoever abuses it with a good token is one principal, and whoever behaves another.
            TRACEGATE__SERVER__MAX_CALLS_PER_PRINCIPAL="64", **environment,
        ),
        directory, lambda: _listens(port), 60,
    )
    try:
        tokens = details["tokens"]
        target = abuse.Victim(server, port, tokens["admin"], experiment, tokens["alice"], trusted)
        gentle = abuse.Gentle(target)
        try:
            processes.wait_until(lambda: len(gentle.between(0, float("inf"))[0]) > 10, 60, "the gentle client")
            yield target, gentle
        finally:
            gentle.close()
    finally:
        server.stop()


def _listens(port):
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return True
    except OSError:
        return False
