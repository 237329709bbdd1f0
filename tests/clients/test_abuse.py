"""Others abuse the gateway; whoever behaves is answered, rightly, and the memory stays bounded. The figures are
those of `benches/abuse.py`, which does the same at full size."""

import pytest

from harness import abuse, victims

pytestmark = pytest.mark.gate

# What a gateway may hold more than before the attack, in MiB, whatever is thrown at it.
PLAIN_ROOM = 192


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with victims.victim(tmp_path_factory.mktemp("abused"), False) as made:
        yield made


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    with victims.victim(tmp_path_factory.mktemp("abused-tls"), True) as made:
        yield made


def hold(made, attack, count, room=PLAIN_ROOM):
    victim, gentle = made
    outcome = abuse.suffer(victim, gentle, attack, count, seconds=1.0, quiet=0.2)
    assert not outcome.wrong, (outcome.what, outcome.wrong[:3])
    assert outcome.during and outcome.after, (outcome.what, len(outcome.during), len(outcome.after))
    before, peak, _ = outcome.memory
    assert peak - before < room, (outcome.what, outcome.memory)
    assert victim.server.alive()
    return outcome


@pytest.mark.parametrize("attack, count", [
    (abuse.slow_heads, 300), (abuse.slow_bodies, 200), (abuse.idle, 1000), (abuse.half_closed, 300), (abuse.pipelined, 10),
])
def test_connections_that_take_long_keep_nobody_waiting(plain, attack, count):
    hold(plain, attack, count)


@pytest.mark.parametrize("attack, refused", [
    (abuse.large_heads, {431, 400}), (abuse.many_headers, {431, 400}), (abuse.large_targets, {431, 400, 414}),
    (abuse.strangers, {401, 429}), (abuse.large_json, {413, 400}), (abuse.large_exports, {413, 400}),
    (abuse.gzip_bombs, {413, 400}),
])
def test_what_is_too_large_or_from_nobody_is_refused(plain, attack, refused):
    outcome = hold(plain, attack, 3)
    # A connection that is closed while it is still being written to may lose its answer.
    statuses = {part.split("× ")[1] for part in outcome.what.split(", ")}
    assert statuses <= {str(status) for status in refused} | {"None"}, outcome.what


@pytest.mark.parametrize("attack, count", [
    (abuse.half_handshakes, 300), (abuse.rapid_resets, 3), (abuse.continuations, 3), (abuse.settings_floods, 3),
    (abuse.table_bombs, 3), (abuse.closed_windows, 5),
])
def test_floods_below_http_keep_nobody_waiting(secure, attack, count):
    hold(secure, attack, count)
