"""The way from a site to its coordinator, step by step: name, port, certificates, SuperLink, clock."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from fedcxr.deployment import kit
from fedcxr.deployment.certificates import common_name, names_of
from fedcxr.deployment.checks.check import Outcome, fine, insecure, odd, unchecked, wrong
from fedcxr.deployment.checks.credentials import lasting, node_key, today
from fedcxr.deployment.forms import node_header
from fedcxr.errors import one_line

SECONDS = 10.0  # to wait for anything
# A SuperLink refuses what a node signed by a clock that is further ahead or behind. Flower's own, which
# `tests/deployment/test_checks_gate.py` compares: SYSTEM_TIME_TOLERANCE, and TIMESTAMP_TOLERANCE beside it.
AHEAD_S, BEHIND_S = 5.0, 305.0
TOLD_S = 2.0  # a clock that is off by so much is not set by anybody
HEARTBEAT = "/v1/fleet/send-node-heartbeat"
# OpenSSL's reasons (X509_V_ERR_*)
NOT_YET, ENDED, OTHER_NAME, OTHER_ADDRESS = 9, 10, 62, 64


@dataclass(frozen=True)
class Answer:
    """What came back from the gate, and when."""

    status: int
    headers: Mapping[str, str]
    body: str
    came: datetime = field(default_factory=today)


@dataclass(frozen=True)
class Gate:
    """The coordinator's gate, as a site with this kit comes to it."""

    folder: Path
    told: kit.SiteKit

    @property
    def _place(self) -> tuple[str, int]:
        return self.told.host, self.told.port

    def name(self) -> Outcome:
        """Whether the server's name leads anywhere."""
        try:
            found = socket.getaddrinfo(*self._place, type=socket.SOCK_STREAM)
        except OSError as error:
            return wrong(
                f"{self.told.host} is unknown here: {error.strerror}",
                "have it entered into this network's DNS, or into /etc/hosts",
            )
        return fine(f"{self.told.host} is {', '.join(dict.fromkeys(str(one[4][0]) for one in found))}")

    def port(self) -> Outcome:
        """Whether anybody is there."""
        try:
            socket.create_connection(self._place, SECONDS).close()
        except TimeoutError:
            return wrong(
                f"no answer from {self.told.address} within {SECONDS:g} s",
                f"open TCP port {self.told.port} to it in the firewalls between",
            )
        except OSError as error:
            return wrong(
                f"{self.told.address}: {error.strerror or error}",
                "ask the coordinator to start the server, or open the firewalls between",
            )
        return fine(f"{self.told.address} answers")

    def tls(self) -> Outcome:
        """Whether who is there is this consortium's server, under this name."""
        try:
            with (
                socket.create_connection(self._place, SECONDS) as plain,
                self._context(own=False).wrap_socket(plain, server_hostname=self.told.host) as secured,
            ):
                shown = secured.getpeercert(binary_form=True)
        except ssl.SSLCertVerificationError as error:
            return self._explained(error)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            return wrong(
                f"what answers at {self.told.address} does not speak TLS 1.3 ({one_line(reason, 60)})",
                "something else is at this port: compare host and port with the coordinator",
            )
        return lasting(x509.load_der_x509_certificate(shown or b""), today(), "tell the coordinator: --renew server")

    def admitted(self) -> Outcome:
        """Whether the gate lets this site's certificate in, to something that is well."""
        return _admitted(self._ask("GET", "/health"))

    def superlink(self) -> Outcome:
        """Whether this node's key comes with this certificate, and a SuperLink that knows nodes by keys is behind.

        The call is not signed, so that nothing can come of it: a SuperLink refuses it in words of its own.
        """
        answer = self._ask("POST", HEARTBEAT, self._node())
        if answer.status == http.HTTPStatus.UNAUTHORIZED and "SuperNode" in answer.body:
            return fine("it is Flower's, and asks for this node's key")
        if answer.status == http.HTTPStatus.FORBIDDEN:
            return insecure(
                "the gate does not know this node's key with this certificate",
                f"send this machine's {kit.REQUEST}; the coordinator provisions again and reloads the gate",
            )
        if answer.status == http.HTTPStatus.OK:
            return insecure("it asks no node for its key", "have it started by fedcxr server start and nothing else")
        return wrong(
            f"what is behind the gate is no SuperLink: {answer.status} {one_line(answer.body, 60)}",
            "ask the coordinator what listens at superlink_port",
        )

    def clock(self) -> Outcome:
        """Whether a SuperLink would believe what this machine's clock says."""
        answer = self._ask("GET", "/health", own=False)  # the gate tells its time to whomever it refuses, too
        try:
            there = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return unchecked("the gate does not tell its time")
        return clock_off((answer.came - there).total_seconds() - 0.5)  # it tells whole seconds, cut off

    def _node(self) -> dict[str, str]:
        public = node_header(node_key(self.folder).public_key())
        return {"flwr-public-key": public, "content-type": "application/protobuf"}

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, *, own: bool = True) -> Answer:
        connection = http.client.HTTPSConnection(*self._place, timeout=SECONDS, context=self._context(own=own))
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            came = today()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read(1 << 16).decode(errors="replace"), came)
        except ssl.SSLError as error:  # since TLS 1.3 a certificate is refused after the handshake
            return Answer(http.HTTPStatus.BAD_REQUEST, {}, f"SSL certificate: {error.reason}")
        except http.client.HTTPException as error:
            return Answer(0, {}, f"no HTTP: {type(error).__name__}")
        finally:
            connection.close()

    def _context(self, *, own: bool) -> ssl.SSLContext:
        """As `sites.supernode` comes."""
        context = ssl.create_default_context(cafile=str(self.folder / kit.AUTHORITY))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if own:
            context.load_cert_chain(self.folder / kit.NODE_CERTIFICATE, self.folder / kit.TLS_KEY)
        return context

    def _explained(self, error: ssl.SSLCertVerificationError) -> Outcome:
        """What is wrong with the certificate that was shown, in terms of what there is to be done."""
        shown = self._shown()
        if not _issued(shown, kit.certificate(self.folder / kit.AUTHORITY)):
            whose = (
                "another consortium's" if re.fullmatch("[0-9a-f]{32}", _organisation(shown)) else "not a consortium's"
            )
            return insecure(
                f"{self.told.address} is {whose}: its certificate is {common_name(shown) or 'nameless'}'s, "
                f"issued by {_issuer(shown)}",
                "compare host and port with the coordinator; if both are right, take the kit with the newest ca.crt",
            )
        if error.verify_code in (OTHER_NAME, OTHER_ADDRESS):
            return insecure(
                f"its certificate is for {', '.join(sorted(names_of(shown)))}, and this kit calls it {self.told.host}; "
                "only the names in a certificate (SAN) count",
                f"the coordinator adds {self.told.host} to `names` and provisions with --renew server",
            )
        if error.verify_code in (NOT_YET, ENDED):
            return lasting(shown, today(), "the coordinator provisions with --renew server and reloads the gate")
        return insecure(f"its certificate is refused: {error.verify_message}", "show this to the coordinator")

    def _shown(self) -> x509.Certificate:
        """The certificate of whoever is there, believed or not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # to be looked at, and nothing else
        with (
            socket.create_connection(self._place, SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=self.told.host) as secured,
        ):
            return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")


def clock_off(seconds: float) -> Outcome:
    """A clock that is so many seconds ahead of the server's, known to about one."""
    told = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the server's"
    fix = "let NTP set this machine's clock (timedatectl set-ntp true); if it is right, tell the coordinator"
    if seconds > AHEAD_S or seconds < -BEHIND_S:
        return wrong(f"{told}: a SuperLink refuses more than {AHEAD_S:g} s ahead, {BEHIND_S:g} s behind", fix)
    if abs(seconds) > TOLD_S:
        return odd(told, fix)
    return fine("within 2 s of the server's")


def _admitted(answer: Answer) -> Outcome:
    if answer.status == http.HTTPStatus.OK and not answer.body:
        return fine("GET /health answers 200")
    if answer.status == http.HTTPStatus.BAD_REQUEST and "SSL certificate" in answer.body:
        return insecure(
            "the gate refuses this site's certificate: it is revoked or over, or the gate's list of revoked ones is",
            "ask the coordinator, who provisions with --renew for this site, or again, and reloads the gate",
        )
    if answer.status in (http.HTTPStatus.BAD_GATEWAY, http.HTTPStatus.GATEWAY_TIMEOUT):
        return wrong("the gate is there, and no SuperLink behind it", "the coordinator runs fedcxr server start KIT")
    if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return odd("the gate has too many calls", "try again in a minute")
    product = answer.headers.get("server", "something without a name")
    told = f"{answer.status} {one_line(answer.body, 60)}"
    return wrong(f"this is no fedcxr gate but {one_line(product, 40)}: {told}", "compare host and port")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _organisation(certificate: x509.Certificate) -> str:
    return "".join(str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def _issuer(certificate: x509.Certificate) -> str:
    return one_line(certificate.issuer.rfc4514_string(), 60)
