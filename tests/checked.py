"""Kits on the machines they are for, and a server of whoever's in a thread, to be looked at."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from provisioned import Hospital, Kits, with_sites

from fedcxr.deployment.certificates import private_text

Answers = dict[str, tuple[int, str]]
WELL: Answers = {"GET": (200, ""), "POST": (401, '{"detail":"Invalid SuperNode authentication"}')}


@dataclass
class Machines:
    """A consortium's kits, each where it is used."""

    kits: Kits
    hospital: Hospital

    @property
    def server(self) -> Path:
        return self.kits.out / "server"

    @property
    def site(self) -> Path:
        return self.kits.out / self.hospital.name

    def copied(self, to: Path) -> Machines:
        return Machines(Kits(shutil.copytree(self.kits.out, to), self.kits.document, self.kits.now), self.hospital)


def machines(out: Path, **changes: object) -> Machines:
    """One hospital with all that it needs, and one that has not asked yet."""
    own = Hospital("charite")
    kits = with_sites(out, own, **{"now": datetime.now(UTC), **changes})
    place_keys(out / "charite", own)
    return Machines(kits, own)


def place_keys(folder: Path, own: Hospital) -> None:
    """What `fedcxr site request` leaves in a kit."""
    (folder / "private").mkdir(mode=0o700, exist_ok=True)
    node = own.node.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    for name, text in (("tls.key", private_text(own.tls)), ("node.key", node)):
        (folder / "private" / name).write_bytes(text)
        (folder / "private" / name).chmod(0o600)


@dataclass
class Running:
    """A server that answers by method, and when it thinks it is."""

    answers: Answers = field(default_factory=lambda: dict(WELL))
    date: str | None = None
    port: int = 0
    got: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def running(certificate: Path, key: Path, authority: Path | None = None, port: int = 0) -> Iterator[Running]:
    """TLS on loopback with this certificate; with an authority, certificates of others are refused."""
    told = Running()

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "toy", ""

        def do_GET(self) -> None:
            status, body = told.answers[self.command]
            told.got.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def date_time_string(self, timestamp: float | None = None) -> str:
            return told.date or super().date_time_string(timestamp)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, address: object) -> None:
            pass  # of whoever only looked

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if authority is not None:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_OPTIONAL  # as nginx, which tells whoever has none so in HTTP
    server = Server(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    told.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
