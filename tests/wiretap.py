"""A wiretap at the coordinator's only open port, by somebody who has everybody's keys: all that crosses it, in clear.

Hospitals' nodes come to the port that their kits name, as ever, and are asked for their certificates there. Each
connection goes on to the real gate with the same certificate, and every byte of it is passed on as it came. So what is
recorded is all that hospitals and the coordinator say to each other inside TLS, headers and heartbeats too, and nothing
of TLS itself: certificates, sizes of packets.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from namespaces import HOST
from ports import free_ports
from three_hospitals import SITES, ThreeHospitals

from fedcxr.deployment.kit import (
    AUTHORITY,
    NODE_CERTIFICATE,
    SERVER_CERTIFICATE,
    SERVER_KEY,
    SUMS,
    TLS_KEY,
    read_server,
)

HERE = "127.0.0.1"
GATE = "nginx.conf"
Way = Literal["up", "down"]  # from a hospital, and to it


@dataclass
class Overheard:
    """What was said, by connection and direction, while something was called the `topic`."""

    topic: str = ""
    before: tuple[bytes, Callable[[], object]] | None = None  # what is done once, before a hospital says this
    _said: dict[tuple[str, str, Way], dict[int, bytearray]] = field(default_factory=lambda: defaultdict(dict))
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def note(self, connection: int, site: str, way: Way, data: bytes) -> None:
        with self._turn:
            said = self._said[self.topic, site, way].setdefault(connection, bytearray())
            said.extend(data)
        if self.before is not None and way == "up" and self.before[0] in said[-len(data) - len(self.before[0]) :]:
            do, self.before = self.before[1], None
            do()

    def said(self, topic: str, site: str, way: Way) -> list[bytes]:
        """What went one way on each connection."""
        with self._turn:
            return [bytes(said) for said in self._said[topic, site, way].values()]


@contextlib.contextmanager
def overheard(parties: ThreeHospitals) -> Iterator[Overheard]:
    """What these parties say to each other, once they are started; their gate moves to a port that nobody knows."""
    told, (gate,) = read_server(parties.server), free_ports(1)
    _move(parties.server, told.port, gate)
    heard = Overheard()
    nodes = {site: _as_node(parties.site(site)) for site in SITES}
    serving = _serving(
        heard, _as_server(parties.server), nodes, (HERE if parties.networks is None else HOST, told.port), gate
    )
    loop = asyncio.new_event_loop()
    with parties.at("server"):  # and so is the thread that is started there
        thread = threading.Thread(target=loop.run_until_complete, args=[serving], daemon=True)
        thread.start()
    try:
        yield heard
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(30)
        loop.close()


async def _serving(
    heard: Overheard, server: ssl.SSLContext, nodes: Mapping[str, ssl.SSLContext], place: tuple[str, int], gate: int
) -> None:
    connections = iter(range(1 << 30))

    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site, number = _named(writer.get_extra_info("peercert")), next(connections)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            onward = await asyncio.open_connection(HERE, gate, ssl=nodes[site], server_hostname="localhost")
            await asyncio.gather(
                _pass_on(reader, onward[1], lambda data: heard.note(number, site, "up", data)),
                _pass_on(onward[0], writer, lambda data: heard.note(number, site, "down", data)),
            )

    with contextlib.suppress(asyncio.CancelledError):
        listening = await asyncio.start_server(passing, *place, ssl=server)
        await listening.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Any) -> None:
    try:
        while data := await reader.read(1 << 16):
            note(data)
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def _as_server(kit: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(kit / SERVER_CERTIFICATE, kit / SERVER_KEY)
    context.load_verify_locations(kit / AUTHORITY)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _as_node(kit: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(kit / AUTHORITY))
    context.load_cert_chain(kit / NODE_CERTIFICATE, kit / TLS_KEY)
    return context


def _named(certificate: Mapping[str, Any]) -> str:
    return next(str(value) for ((key, value),) in certificate["subject"] if key == "commonName")


def _move(kit: Path, port: int, gate: int) -> None:
    """Have the gate listen where nobody but us looks for it; the kit's sums say so too."""
    file, sums = kit / GATE, kit / SUMS
    before = file.read_bytes()
    after = before.replace(b"listen %d ssl" % port, b"listen %s:%d ssl" % (HERE.encode(), gate))
    assert after != before
    file.write_bytes(after)
    was, is_now = (hashlib.sha256(data).hexdigest() for data in (before, after))
    sums.write_text(sums.read_text().replace(was, is_now))
