"""The way to the coordinator, with a real TLS server at its end: whose it is, and what is wrong with it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from checked import Machines, Running, machines, running
from flwr.common import constant
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

from fedcxr.deployment import kit
from fedcxr.deployment.checks.check import Outcome, Verdict
from fedcxr.deployment.checks.gate import AHEAD_S, BEHIND_S, HEARTBEAT, Gate, clock_off
from fedcxr.deployment.forms import node_header
from fedcxr.deployment.kit import SiteKit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    return machines(tmp_path_factory.mktemp("ours") / "kits")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    """Another consortium, in which all have the same names."""
    return machines(tmp_path_factory.mktemp("theirs") / "kits")


def server_of(of: Machines) -> tuple[Path, Path]:
    return of.server / kit.SERVER_CERTIFICATE, of.server / kit.SERVER_KEY


@pytest.fixture
def server(made: Machines) -> Iterator[Running]:
    with running(*server_of(made), made.server / kit.AUTHORITY) as told:
        yield told


def gate(of: Machines, port: int, host: str = "localhost") -> Gate:
    told: SiteKit = kit.read_site(of.site)
    return Gate(of.site, told.model_copy(update={"port": port, "host": host}))


def problem(outcome: Outcome, said: str, code: int) -> None:
    assert outcome.verdict is Verdict.problem
    assert re.search(said, outcome.found), outcome.found
    assert outcome.exit_code == code
    assert outcome.fix


def test_a_server_of_ours_is_well(made: Machines, server: Running) -> None:
    own = gate(made, server.port)
    for look in (own.name, own.port, own.tls, own.admitted, own.superlink):
        assert look().verdict is Verdict.ok
    assert server.got[-1][FLEET_HTTP_PUBLIC_KEY_HEADER] == node_header(made.hospital.node.public_key())
    assert "flwr-signature" not in server.got[-1]  # nothing can come of the call


def test_a_name_that_nobody_knows(made: Machines) -> None:
    problem(gate(made, 443, "fedcxr.invalid").name(), "fedcxr.invalid is unknown here", 3)


def test_a_port_at_which_nobody_listens(made: Machines) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        problem(gate(made, one.getsockname()[1]).port(), "refused", 3)


def test_a_server_of_another_consortium_is_named(made: Machines, others: Machines) -> None:
    with running(*server_of(others)) as foreign:
        outcome = gate(made, foreign.port).tls()
    problem(outcome, "is another consortium's: its certificate is localhost's, issued by CN=chest authority", 5)


def test_a_name_that_is_not_in_the_certificate_is_explained(made: Machines, server: Running) -> None:
    outcome = gate(made, server.port, "127.1").tls()  # another name of this machine
    problem(outcome, r"is for 127.0.0.1, localhost, and this kit calls it 127.1; .*\(SAN\)", 5)
    assert "--renew server" in outcome.fix


def test_what_speaks_no_tls(made: Machines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            accepted, _ = listener.accept()
            accepted.sendall(b"220 mail.example.org ESMTP\r\n")
            accepted.close()

        threading.Thread(target=hang_up, daemon=True).start()
        problem(gate(made, listener.getsockname()[1]).tls(), "does not speak TLS 1.3", 3)


@pytest.mark.parametrize(("days", "verdict"), [(-200, Verdict.problem), (-5, Verdict.warning), (300, Verdict.ok)])
def test_a_server_whose_certificate_ends(tmp_path: Path, days: int, verdict: Verdict) -> None:
    """A certificate of 15 days, made so many days before it would be fresh for `days` more."""
    made = datetime.now(UTC) - timedelta(days=max(0, -days))
    of = machines(tmp_path / "kits", now=made, days=15 if days < 0 else days)
    with running(*server_of(of)) as told:
        outcome = gate(of, told.port).tls()
    assert outcome.verdict is verdict
    assert ("--renew server" in outcome.fix) == (verdict is not Verdict.ok)


def test_a_certificate_of_another_consortium_is_refused_by_the_gate(
    others: Machines, made: Machines, server: Running, tmp_path: Path
) -> None:
    lost = others.copied(tmp_path / "kits")
    (lost.site / kit.AUTHORITY).write_bytes((made.site / kit.AUTHORITY).read_bytes())
    own = Gate(
        lost.site,
        SiteKit(site="charite", consortium="chest", id="0" * 32, host="localhost", port=server.port, runtime_port=1),
    )
    problem(own.admitted(), "the gate refuses this site's certificate", 5)


@pytest.mark.parametrize(
    ("status", "body", "said", "code"),
    [
        (400, "<center>The SSL certificate error</center>", "refuses this site's certificate", 5),
        (502, "<html>", "no SuperLink behind it", 3),
        (200, "<html>welcome", "no fedcxr gate but toy", 3),
        (404, "", "no fedcxr gate but toy", 3),
    ],
)
def test_what_a_gate_may_answer(made: Machines, server: Running, status: int, body: str, said: str, code: int) -> None:
    server.answers["GET"] = (status, body)
    problem(gate(made, server.port).admitted(), said, code)


@pytest.mark.parametrize(
    ("status", "body", "said", "code"),
    [
        (403, "", "does not know this node's key", 5),
        (200, "", "asks no node for its key", 5),
        (401, "who are you", "no SuperLink: 401 who are you", 3),
    ],
)
def test_what_may_be_behind_a_gate(
    made: Machines, server: Running, status: int, body: str, said: str, code: int
) -> None:
    server.answers["POST"] = (status, body)
    problem(gate(made, server.port).superlink(), said, code)


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(60, Verdict.problem), (-400, Verdict.problem), (-60, Verdict.warning), (0, Verdict.ok)],
)
def test_a_clock_is_held_against_the_server_s(made: Machines, server: Running, seconds: int, verdict: Verdict) -> None:
    server.date = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)
    outcome = gate(made, server.port).clock()
    assert outcome.verdict is verdict, outcome


def test_a_gate_tells_its_time_before_there_is_a_certificate(made: Machines, tmp_path: Path) -> None:
    fresh = made.copied(tmp_path / "kits")
    (fresh.site / kit.NODE_CERTIFICATE).unlink()
    with running(*server_of(made)) as told:
        assert gate(fresh, told.port).clock().verdict is Verdict.ok


def test_the_bounds_of_clocks_are_flower_s() -> None:
    assert AHEAD_S == constant.SYSTEM_TIME_TOLERANCE
    assert BEHIND_S == constant.TIMESTAMP_TOLERANCE + constant.SYSTEM_TIME_TOLERANCE
    assert clock_off(AHEAD_S + 0.1).verdict is clock_off(-BEHIND_S - 0.1).verdict is Verdict.problem
    assert clock_off(AHEAD_S - 0.1).verdict is clock_off(-BEHIND_S + 0.1).verdict is Verdict.warning


def test_the_call_is_flower_s() -> None:
    from flwr.superlink.routers.fleet.router import router

    assert HEARTBEAT in {getattr(route, "path", "") for route in router.routes}
