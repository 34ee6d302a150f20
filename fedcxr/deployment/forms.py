"""A kit's files that are the same for all but for names and ports: nginx, systemd, containers, a page to read."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from string import Template
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from fedcxr import __version__
from fedcxr.deployment.certificates import public_text

SCRIPTS = ("start", "reload")  # are run


class Form(Template):
    """A text with blanks such as @{site}: nginx, shells and compose have uses of their own for the dollar."""

    delimiter = "@"
    idpattern = "(?!)"  # never without braces
    braceidpattern = "[a-z_]+"


class Bound(NamedTuple):
    """A site's certificate, and the node key that may come with it."""

    site: str
    serial: str
    node: ec.EllipticCurvePublicKey


def filled(role: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and text of each file of a server's kit, or of a site's."""
    given = {"version": __version__, **values}
    folder = resources.files("fedcxr.deployment") / "templates" / role
    for form in sorted(folder.iterdir(), key=lambda one: one.name):
        yield form.name, Form(form.read_text(encoding="utf-8")).substitute(given)


def node_header(key: ec.EllipticCurvePublicKey) -> str:
    """What a Flower node sends of itself in the header `flwr-public-key`."""
    return base64.b64encode(public_text(key).encode()).decode()


def bindings(bound: Iterable[Bound]) -> str:
    """Lines of nginx's map from a certificate's serial number and a node's key to the site whose both are."""
    return "".join(f'        "~^{one.serial}:{re.escape(node_header(one.node))}$" {one.site};\n' for one in bound)


def listening(port: int, hosts: Iterable[str]) -> str:
    """Where the gate listens: on IPv6 only where the server has such an address, for not every machine has any."""
    lines = [f"        listen {port} ssl;\n"]
    lines += [f"        listen [::]:{port} ssl;\n"] if any(":" in host for host in hosts) else []
    return "".join(lines)


def spaced(fingerprint: str) -> str:
    """A fingerprint as two people read it to each other."""
    return " ".join(fingerprint[i : i + 8] for i in range(0, len(fingerprint), 8))
