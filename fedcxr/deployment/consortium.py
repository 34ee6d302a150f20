"""A consortium's document: one coordinator's machine, and the hospitals whose nodes may reach it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast

import pydantic

from fedcxr import plugins
from fedcxr.errors import ConfigError, DataError, StorageError
from fedcxr.scenario.document import LARGEST_FILE, read_yaml
from fedcxr.scenario.sections import Section
from fedcxr.scenario.sites import in_order

# One part of a machine's name (RFC 1123). Such a word is also the name of a folder everywhere, and fits into a
# certificate, whose common name ends after 64 characters.
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
LONGEST_LABEL = 63
LONGEST_HOST = 253  # characters of a whole DNS name
FOLDERS = ("server", "authority", "requests")  # stand beside the sites' kits
WARNED = 14  # days: how long before its end a certificate is told of

Port = Annotated[int, pydantic.Field(ge=1, le=65535)]


class SiteTerms(Section):
    """What is special about one site."""

    runtime_port: Port = pydantic.Field(9094, description="on its own machine's loopback, where its node's app asks")


def is_address(host: str) -> bool:
    """Whether a host is named by its number."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # a zone means something on one machine only


def plain(host: str) -> str:
    """A machine's name as a certificate has it: in small letters, an address in its shortest form."""
    return str(ipaddress.ip_address(host)) if is_address(host) else host.lower()


def _sites(value: object) -> dict[str, dict[str, Any]]:
    """Every site's terms, checked, by name, in an order that does not depend on how they are given."""
    terms = dict.fromkeys(_listed(value)) if _is_list(value) else value
    if not isinstance(terms, Mapping):
        raise ConfigError(
            "consortium: sites are a list of names, or a mapping",
            given=value,
            allowed="[charite, ukb] or {charite: {}}",
        )
    for name in terms:
        _check_site(name)
    names = in_order(terms)
    if len(names) < 2:
        raise ConfigError(
            "consortium: with fewer than two sites there is nobody to learn with",
            given=f"{len(names)} site{'s' * (len(names) != 1)}",
            allowed="two or more",
        )
    return {name: _terms(name, terms[name]) for name in names}


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _listed(value: object) -> list[str]:
    names = list(cast("Sequence[str]", value))
    for name in names:
        _check_site(name)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError("consortium: two sites of one name", given=twice, do="give each a name of its own")
    return names


def _terms(name: str, terms: object) -> dict[str, Any]:
    if terms is not None and not isinstance(terms, Mapping):
        raise ConfigError(
            f"consortium: sites.{name} maps settings to values", given=terms, allowed="{runtime_port: 9094}"
        )
    return plugins.validate(SiteTerms, terms or {}, f"consortium: sites.{name}").model_dump()


def _check_site(name: object) -> None:
    _check_label("site", name)
    if str(name).lower() in FOLDERS:
        raise ConfigError(
            "consortium: a site cannot have this name", given=name, do="a folder beside the sites' kits is called so"
        )


def _check_label(noun: str, name: object) -> None:
    """A name that stands in a certificate, names a folder and a machine's container, without any quoting."""
    if isinstance(name, str) and LABEL.fullmatch(name):
        return
    if not isinstance(name, str):
        why = "it is no text; put it in quotation marks"
    elif len(name) > LONGEST_LABEL:
        why = f"it has {len(name)} characters, and a certificate's name and a part of a machine's name hold no more"
    elif "/" in name or name.startswith("."):
        why = "it would lead to another folder than its own"
    else:
        why = "it cannot be a part of a machine's name (a DNS label)"
    allowed = f"1 to {LONGEST_LABEL} letters a-z, digits and -, with a letter or digit first and last"
    raise ConfigError(f"consortium: this is no name for a {noun}", given=ascii(name), allowed=allowed, do=why)


def _check_host(host: str) -> None:
    """A name that a certificate can bear, and that sites can look up."""
    labels = host.split(".")
    if is_address(host):
        return
    if len(host) <= LONGEST_HOST and all(LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit():
        return
    wild = "a certificate for every name below a domain is more than this machine needs" if "*" in host else None
    raise ConfigError(
        "consortium: this is no name of a machine",
        given=ascii(host),
        allowed="a DNS name such as fedcxr.example.org, or an address such as 192.0.2.7; without https:// and port",
        do=wild,
    )


class Consortium(Section):
    """Who takes part, and where they meet."""

    name: str = pydantic.Field(description="of the consortium")
    host: str = pydantic.Field(description="the coordinator's machine, as the sites reach it: a DNS name or an address")
    names: tuple[str, ...] = pydantic.Field((), description="more names under which some sites reach it")
    port: Port = pydantic.Field(8443, description="open to the sites")
    superlink_port: Port = pydantic.Field(9092, description="on the coordinator's machine alone")
    sites: Annotated[dict[str, SiteTerms], pydantic.BeforeValidator(_sites)] = pydantic.Field(
        description="a list of names, or a mapping from names to what is special about them"
    )
    days: int = pydantic.Field(
        365, gt=WARNED, le=825, description="for which certificates and the list of revoked ones are valid"
    )
    authority_days: int = pydantic.Field(3650, le=7300, description="for which the consortium's authority is valid")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_label("consortium", self.name)
        for name in self.every_name:
            _check_host(name)
        if self.port == self.superlink_port:
            raise ConfigError(
                "consortium: two things cannot listen at one port", given=self.port, do="change superlink_port"
            )
        if self.authority_days <= self.days:
            raise ConfigError(
                "consortium: the authority must be valid for longer than what it certifies",
                given=f"authority_days: {self.authority_days}",
                allowed=f"more than days, which is {self.days}",
            )
        return self

    @property
    def every_name(self) -> tuple[str, ...]:
        """The names by which sites reach the coordinator's machine, each written in one way only."""
        return tuple(dict.fromkeys(map(plain, (self.host, *self.names))))

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Consortium:
        """A consortium from plain data."""
        return plugins.validate(cls, document, "consortium")

    @classmethod
    def read(cls, path: Path) -> Consortium:
        """The consortium in a YAML file, as strict as a scenario."""
        try:
            with path.open("rb") as file:
                text = file.read(LARGEST_FILE + 1).decode()
        except FileNotFoundError:
            raise DataError("there is no such consortium", given=path) from None
        except UnicodeDecodeError:
            raise ConfigError("the consortium's file is not text", given=path, allowed="UTF-8") from None
        except OSError as error:
            raise StorageError("cannot read the consortium", given=path, do=error.strerror or "") from None
        return cls.parse(read_yaml(text))
