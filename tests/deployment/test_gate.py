"""The gate, tried with the real nginx: sites reach their calls, with their own certificate and node key, no more."""

from __future__ import annotations

import http.client
import inspect
import os
import pwd
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supernode import fleet_http_client
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from ports import free_port
from provisioned import Hospital, Kits, with_sites

from fedcxr.deployment.authority import Authority
from fedcxr.deployment.certificates import new_key, private_text
from fedcxr.deployment.consortium import Consortium
from fedcxr.deployment.forms import node_header

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

CALL = "/v1/fleet/send-node-heartbeat"


@dataclass
class Seen:
    """One request as the SuperLink would have got it."""

    line: str
    headers: dict[str, str]
    body: bytes


class Stub(ThreadingHTTPServer):
    """Stands in for the SuperLink: TLS on loopback, and notes all that arrives."""

    daemon_threads = True

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[Seen] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def answer(self) -> None:
        body = self._chunks() if "Transfer-Encoding" in self.headers else self._counted()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen(self.requestline, headers, body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_OPTIONS = answer

    def _counted(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:
        pass


def is_open(port: int) -> bool:
    """Whether anybody listens there."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Badge:
    """A certificate with its key, as somebody comes to the gate."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, name: str, certificate: str, key: ec.EllipticCurvePrivateKey) -> Badge:
        badge = cls(folder / f"{name}.crt", folder / f"{name}.key")
        badge.certificate.write_text(certificate)
        badge.key.write_bytes(private_text(key))
        return badge


@dataclass
class Gate:
    """nginx with a consortium's kit, and everybody who may try."""

    kits: Kits
    folder: Path
    port: int
    stub: Stub
    badges: dict[str, Badge]
    nodes: dict[str, str]  # what each site's node sends of its key
    user: int | None
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        command = [str(NGINX), "-p", str(self.folder), "-c", "nginx.conf", "-g", "daemon off;"]
        self.process = subprocess.Popen(command, user=self.user, stderr=subprocess.PIPE)
        if not eventually(lambda: is_open(self.port)):
            self.process.kill()
            pytest.fail(f"nginx does not listen: {self.process.communicate()[1].decode()}")

    def reload(self, *, place: bool = True) -> None:
        """The kit as it was provisioned last, and nginx told so; when no worker is left that knows another."""
        if place:
            placed(self.kits, self.folder, self.user)
        master = psutil.Process(self.process.pid)
        before = set(master.children())
        subprocess.run([str(NGINX), "-p", str(self.folder), "-c", "nginx.conf", "-s", "reload"], check=True, timeout=20)
        assert eventually(lambda: bool(master.children()) and not before & set(master.children()))

    def context(self, badge: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if badge is not None:
            context.load_cert_chain(self.badges[badge].certificate, self.badges[badge].key)
        return context

    def connect(self, badge: str | None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, timeout=20, context=self.context(badge))

    def ask(
        self, badge: str | None, method: str = "POST", target: str = CALL, body: bytes = b"", node: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body of the answer to one request, whose target goes out as it stands here."""
        sent = self.nodes.get(badge or "", "") if node is None else node
        connection = self.connect(badge)
        try:
            connection.putrequest(method, target)
            if sent:
                connection.putheader("flwr-public-key", sent)
            if body or method == "POST":
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def refused(self, badge: str | None, method: str = "POST", target: str = CALL, node: str | None = None) -> int:
        """The status of a request that must not get through; it says so if any of it did."""
        before = len(self.stub.seen)
        status, _ = self.ask(badge, method, target, node=node)
        assert len(self.stub.seen) == before
        return status


def placed(kits: Kits, folder: Path, user: int | None) -> None:
    """The server's kit where the user who runs nginx reads it."""
    shutil.copytree(kits.out / "server", folder, dirs_exist_ok=True)
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, -1)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    hospitals = [Hospital(name) for name in ("charite", "ukb", "mercy")]
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    work = tmp_path_factory.mktemp("gate")
    port, now = free_port(), datetime.now(UTC)
    kits = with_sites(work / "kits", *hospitals, sites=["charite", "ukb", "mercy"], port=port, now=now)
    stub = Stub(kits.out / "server" / "server.crt", kits.out / "server" / "private" / "server.key")
    threading.Thread(target=stub.serve_forever, daemon=True).start()
    kits.document["superlink_port"] = stub.server_address[1]
    kits.provision()

    badges = {one.name: Badge.of(work, one.name, kits.text(f"{one.name}/node.crt"), one.tls) for one in hospitals}
    badges["expired"] = expired(kits, hospitals[0], work)
    stranger = Hospital("charite")
    other = with_sites(work / "other", stranger, now=now)
    badges["foreign"] = Badge.of(work, "foreign", other.text("charite/node.crt"), stranger.tls)
    badges["server"] = Badge(kits.out / "server" / "server.crt", kits.out / "server" / "private" / "server.key")
    nodes = {one.name: node_header(one.node.public_key()) for one in hospitals}
    nodes |= dict.fromkeys(("expired", "foreign", "server"), nodes["charite"])

    with tempfile.TemporaryDirectory(prefix="gate-") as place:  # the folders of tests are for their owner alone
        Path(place).chmod(0o755)
        folder = Path(place, "kit")
        placed(kits, folder, user)
        running = Gate(kits, folder, port, stub, badges, nodes, user)
        running.start()
        for inner in ("body", "proxy"):  # whatever nginx would put on the disk of what passes is an error from here on
            (folder / "run" / inner).chmod(0o500)
        try:
            yield running
        finally:
            running.process.terminate()
            running.process.communicate(timeout=20)
            stub.shutdown()
            stub.server_close()


def expired(kits: Kits, hospital: Hospital, work: Path) -> Badge:
    """A genuine certificate of a site's, which has ended; it is in no list of revoked ones."""
    folder = shutil.copytree(kits.out / "authority", work / "long-ago")
    authority = Authority.open(folder, Consortium.parse(kits.document), kits.now)
    past = replace(authority, now=kits.now - timedelta(days=30))
    issued = past.certify_site(hospital.name, hospital.tls.public_key(), 29, kits.issued.of(hospital.name)[-1].request)
    return Badge.of(work, "expired", issued.issued.certificates[-1].certificate, hospital.tls)


# What gets through ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 11, 6_000_000])
def test_a_site_s_call_arrives_as_it_was_sent(gate: Gate, size: int) -> None:
    body = os.urandom(size)
    assert gate.ask("charite", body=body) == (200, body)
    seen = gate.stub.seen[-1]
    assert (seen.line, seen.body) == (f"POST {CALL} HTTP/1.1", body)
    assert seen.headers["flwr-public-key"] == gate.nodes["charite"]


def test_every_site_reaches_its_calls_and_whether_the_server_is_well(gate: Gate) -> None:
    for site in ("charite", "ukb", "mercy"):
        assert gate.ask(site)[0] == 200
        assert gate.ask(site, "GET", "/health")[0] == 200


def test_a_body_that_is_sent_in_chunks_arrives(gate: Gate) -> None:
    connection = gate.connect("ukb")
    headers = {"flwr-public-key": gate.nodes["ukb"]}
    connection.request("POST", CALL, iter([b"a" * 70_000, b"b"]), headers, encode_chunked=True)
    assert connection.getresponse().read() == b"a" * 70_000 + b"b"
    connection.close()


def test_the_log_tells_who_called_and_nothing_of_what_was_said(gate: Gate) -> None:
    gate.ask("ukb", body=b"Kowalczyk")
    log = (gate.folder / "run" / "access.log").read_text()
    assert f'site="ukb" serial={gate.kits.issued.of("ukb")[-1].serial}' in log
    assert "Kowalczyk" not in log
    assert gate.nodes["ukb"] not in log


def test_flower_s_node_sends_its_key_in_this_header_and_asks_under_these_paths(gate: Gate) -> None:
    """A contract with the installed Flower: what it sends is what the kit's nginx.conf lets through."""
    key = new_key()
    request = SimpleNamespace(headers={})
    sender = NodeAuthHttpInterceptor(key, key.public_key())
    sender.intercept(SimpleNamespace(request=request), lambda _: None)  # type: ignore[arg-type, return-value]
    assert request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER] == node_header(key.public_key())
    assert f"$http_{FLEET_HTTP_PUBLIC_KEY_HEADER.replace('-', '_')}" in gate.kits.text("server/nginx.conf")
    paths = set(re.findall(r'path="([^"]+)"', inspect.getsource(fleet_http_client)))
    assert len(paths) >= 10
    assert [path for path in paths if not re.fullmatch("/v1/fleet/[a-z-]+", path)] == []


# What does not --------------------------------------------------------------------------------------------------------

TARGETS = [
    "/",
    "/v1",
    "/v1/fleet",
    "/v1/fleet/",
    "/v1/fleet/pull-messages/",
    "/v1/fleet/pull-messages?a=b",
    "/v1/fleet/pull-messages?",
    "/v1/fleet/pull-messages#a",
    "/v1/fleet/pull-messages;a",
    "/v1/fleet/PULL",
    "/V1/FLEET/pull-messages",
    "/v1/control/start-run",
    "/v1/runtime/acquire-task",
    "/openapi.json",
    "/docs",
    "/v1/fleet%2fpull-messages",
    "/v1%2ffleet/pull-messages",
    "/v1/fleet/pull%2dmessages",
    "/v1/fleet/..%2fcontrol/start-run",
    "//v1/fleet/pull-messages",
    "/v1//fleet/pull-messages",
    "/v1/fleet//pull-messages",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/../fleet/pull-messages",
    "/v1/control/../fleet/pull-messages",
    "/v1/./fleet/pull-messages",
    "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/pull-messages%00",
    "/v1/fleet/pull-messages%0a",
    "/v1/fleet/pull\\messages",
    "/health/../v1/control/start-run",
    "https://localhost/v1/control/start-run",
    "https://localhost//v1/fleet/pull-messages",
    "*",
    "v1/fleet/pull-messages",
]


@pytest.mark.parametrize("target", TARGETS)
def test_no_other_path_is_reached(gate: Gate, target: str) -> None:
    for method in ("POST", "GET"):
        assert gate.refused("charite", method, target) in (400, 403, 405)


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "POSTS"]
)
def test_no_other_method_is(gate: Gate, method: str) -> None:
    assert gate.refused("charite", method) in (400, 405)
    if method != "GET":
        assert gate.refused("charite", method, "/health") in (400, 405)


def test_health_is_not_posted_to(gate: Gate) -> None:
    assert gate.refused("charite", "POST", "/health") == 405


@pytest.mark.parametrize("badge", [None, "foreign", "expired", "server"])
def test_no_other_certificate_opens_the_gate(gate: Gate, badge: str | None) -> None:
    """Not even for what needs no node key, so it is the certificate that is refused."""
    assert gate.refused(badge, node=gate.nodes["charite"]) == 400
    assert gate.refused(badge, "GET", "/health") == 400


def test_a_certificate_is_good_for_its_own_node_alone(gate: Gate) -> None:
    own, other = gate.nodes["charite"], gate.nodes["ukb"]
    for sent in (other, "", own[:-1], own.swapcase(), f"{own},{other}", own + own):
        assert gate.refused("charite", node=sent) == 403
    assert gate.refused("ukb", node=own) == 403


def test_of_two_node_keys_only_the_one_that_was_checked_goes_on(gate: Gate) -> None:
    for first, second in (("charite", "ukb"), ("ukb", "charite")):
        before = len(gate.stub.seen)
        connection = gate.connect("charite")
        connection.putrequest("POST", CALL)
        connection.putheader("flwr-public-key", gate.nodes[first])
        connection.putheader("flwr-public-key", gate.nodes[second])
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        told = [seen.headers["flwr-public-key"] for seen in gate.stub.seen[before:]]
        assert (status, told) in ((403, []), (400, []), (200, [gate.nodes["charite"]]))


def test_nobody_says_where_a_call_is_from(gate: Gate) -> None:
    connection = gate.connect("charite")
    told = {"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "http", "Forwarded": "for=10.0.0.1"}
    connection.request("POST", CALL, headers={**told, "flwr-public-key": gate.nodes["charite"]})
    assert connection.getresponse().status == 200
    connection.close()
    assert not {name.lower() for name in told} & gate.stub.seen[-1].headers.keys()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_gone_on_from_past_a_newer_list_of_what_was_revoked(gate: Gate, version: ssl.TLSVersion) -> None:
    context = gate.context("charite")
    context.minimum_version = context.maximum_version = version
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("localhost", gate.port), 20) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secure.recv(12) == b"HTTP/1.1 200"
            assert not secure.session_reused
            session = secure.session


def test_a_body_above_the_limit_is_refused(gate: Gate) -> None:
    connection = gate.connect("charite")
    connection.putrequest("POST", CALL)
    connection.putheader("flwr-public-key", gate.nodes["charite"])
    connection.putheader("Content-Length", str(17 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def answered(connection: http.client.HTTPSConnection) -> bytes:
    """How an answer begins, if one is there already."""
    connection.sock.settimeout(0)
    try:
        return connection.sock.recv(12)
    except (ssl.SSLWantReadError, BlockingIOError):
        return b""


def test_one_site_s_open_calls_leave_room_for_the_others(gate: Gate) -> None:
    opened = [gate.connect("charite") for _ in range(33)]
    try:
        for connection in opened:
            connection.putrequest("POST", CALL)
            connection.putheader("flwr-public-key", gate.nodes["charite"])
            connection.putheader("Content-Length", "1")
            connection.endheaders()
        assert eventually(lambda: b"HTTP/1.1 503" in map(answered, opened))
        assert gate.ask("ukb")[0] == 200
    finally:
        for connection in opened:
            connection.close()


def test_a_flood_is_slowed_down_and_then_refused(gate: Gate) -> None:
    told = (gate.folder / "nginx.conf").read_text()
    lower = told.replace("rate=500r/s", "rate=1r/s").replace("burst=1000 delay=500", "burst=2 delay=2")
    assert lower != told
    assert gate.ask("mercy")[0] == 200  # at the rate at which what came before is forgotten
    try:
        (gate.folder / "nginx.conf").write_text(lower)
        gate.reload(place=False)
        statuses = [gate.ask("mercy")[0] for _ in range(6)]
        assert (statuses[0], statuses[-1]) == (200, 503)
        assert gate.ask("ukb")[0] == 200
    finally:
        (gate.folder / "nginx.conf").write_text(told)
        gate.reload(place=False)


ABANDONED = """
import sys, time
from pathlib import Path
from fedcxr.deployment.supervision import together
from server.superlink import _parts
from fedcxr.deployment.run_folder import RunFolder
kit = Path(sys.argv[1])
(gate,) = [part for part in _parts(kit, 1, RunFolder(kit)) if part.name == "gate"]
with together() as parts:
    parts.start(gate)
    time.sleep(60)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="nothing here ends a child with its parent")
def test_no_gate_is_left_open_by_a_server_that_was_killed(gate: Gate, tmp_path: Path) -> None:
    kit, port = shutil.copytree(gate.kits.out / "server", tmp_path / "kit"), free_port()
    told = (kit / "nginx.conf").read_text()
    (kit / "nginx.conf").write_text(told.replace(f"listen {gate.port} ssl", f"listen {port} ssl"))
    with subprocess.Popen([sys.executable, "-c", ABANDONED, str(kit)]) as server:
        assert eventually(lambda: is_open(port))
        server.kill()
    assert eventually(lambda: not is_open(port))


def test_another_server_behind_the_gate_is_told_nothing(gate: Gate) -> None:
    """nginx checks whom it hands calls on to: somebody who took the SuperLink's port has no certificate for it."""
    own = with_sites(gate.kits.out.parent / "third", now=gate.kits.now)
    impostor = Stub(own.out / "server" / "server.crt", own.out / "server" / "private" / "server.key")
    threading.Thread(target=impostor.serve_forever, daemon=True).start()
    kits = gate.kits
    kept = kits.document["superlink_port"]
    try:
        kits.document["superlink_port"] = impostor.server_address[1]
        kits.provision()
        gate.reload()
        assert gate.ask("charite")[0] == 502
        assert impostor.seen == []
    finally:
        kits.document["superlink_port"] = kept
        kits.provision()
        gate.reload()
        assert gate.ask("charite")[0] == 200
        impostor.shutdown()
        impostor.server_close()


def test_whoever_is_revoked_is_out_after_a_reload_and_the_others_are_not(gate: Gate) -> None:
    assert gate.ask("mercy", "GET", "/health")[0] == 200
    open_since = gate.connect("mercy")
    open_since.request("GET", "/health")
    assert open_since.getresponse().read() == b""
    gate.kits.provision(revoke="mercy")
    gate.reload()
    assert gate.refused("mercy", "GET", "/health") == 400
    assert gate.refused("mercy") == 400
    assert gate.ask("ukb")[0] == 200
    try:  # a connection from before is closed, and no way in
        open_since.request("GET", "/health")
        assert open_since.getresponse().status != 200
    except (http.client.HTTPException, OSError):
        pass


def eventually(true: Callable[[], bool]) -> bool:
    """Within the time that nginx takes for a reload."""
    for _ in range(100):
        if true():
            return True
        time.sleep(0.05)
    return False
