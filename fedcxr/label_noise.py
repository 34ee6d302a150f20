"""How often labels are right, of films with a finding and of films without it: what is believed of those that teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
import yaml

from fedcxr import plugins
from fedcxr.errors import ConfigError, UnknownName
from fedcxr.plugins import File

LARGEST_FILE = 1 << 20  # bytes of a table of rates
AROUND = (0.9, 0.95)  # sensitivity and specificity around which those of sites are learnt. *Our choice.*

Share = Annotated[float, pydantic.Field(gt=0, lt=1)]
Finding = Annotated[str, pydantic.Field(pattern=r"^[^/\\\x00-\x1f]{1,100}$")]
Site = Annotated[str, pydantic.Field(pattern=r"^[^/\\\x00-\x1f]{1,100}$")]


class Noun(pydantic.BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rates(Noun):
    """Of one finding."""

    sensitivity: Share = pydantic.Field(description="share of the films with the finding that are labelled with it")
    specificity: Share = pydantic.Field(description="share of the films without it that are labelled without")

    @pydantic.model_validator(mode="after")
    def _tells_something(self) -> Self:
        _demand_informative(self.sensitivity, self.specificity)
        return self


class LabelNoise(Noun):
    """What a classifier is told of the labels it learns from; as it stands nothing, and they are taken for right."""

    sensitivity: Share | None = pydantic.Field(
        default=None, description="of every finding: share of the films with it that are labelled with it"
    )
    specificity: Share | None = pydantic.Field(
        default=None, description="of every finding: share of the films without it that are labelled without"
    )
    findings: dict[Finding, Rates] = pydantic.Field(default={}, description="of single findings, instead")
    file: File | None = pydantic.Field(
        default=None, description="YAML or JSON: `FINDING: {sensitivity: ..., specificity: ...}`, instead"
    )
    sites: dict[Site, Rates] = pydantic.Field(
        default={}, description="of all films of single sites, instead: `site-1: {sensitivity: ..., specificity: ...}`"
    )
    learnt: bool = pydantic.Field(
        default=False,
        description="each site's own rates of every finding are learnt along with the network, around what is given or "
        f"{AROUND[0]:g} and {AROUND[1]:g}",
    )
    estimated: bool = pydantic.Field(
        default=False, description="of every finding: estimated from the training films by confident learning, instead"
    )
    unknown: Share | None = pydantic.Field(
        default=None,
        description="how likely a finding is where its label is unknown, such as CheXpert's -1 read with "
        "`uncertain: ignore`; null: such a label teaches nothing",
    )

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.sensitivity is None) != (self.specificity is None):
            raise ValueError("sensitivity and specificity are given together, or neither is")
        if self.sensitivity is not None and self.specificity is not None:
            _demand_informative(self.sensitivity, self.specificity)
        given = {
            "sensitivity and specificity": self.sensitivity is not None,
            "file": self.file is not None,
            "estimated": self.estimated,
        }
        ways = [way for way, used in given.items() if used]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} are each for every finding: give one of them")
        if self.learnt and (self.estimated or self.sites):
            known = "estimated" if self.estimated else "sites"
            raise ValueError(
                f"{known}: rates of sites that are learnt are not given as well; leave {known} or learnt out"
            )
        return self

    @property
    def on(self) -> bool:
        """Whether anything is told."""
        return self != LabelNoise()

    @property
    def by_site(self) -> bool:
        """Whether it matters whose a film is."""
        return self.learnt or bool(self.sites)

    def of(self, findings: Sequence[str]) -> tuple[Rates | None, ...]:
        """What is given of each of these findings; None: nothing is."""
        each = {**({} if self.file is None else read(Path(self.file))), **self.findings}
        for name in each:
            if name not in findings:
                raise UnknownName("finding in label_noise", name, findings)
        every = None
        if self.sensitivity is not None and self.specificity is not None:
            every = Rates(sensitivity=self.sensitivity, specificity=self.specificity)
        return tuple(each.get(name, every) for name in findings)


def read(path: Path) -> dict[str, Rates]:
    """The rates of single findings in a file."""
    where = f"label noise in {path}"
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        if len(raw) > LARGEST_FILE:
            raise ConfigError(f"{where}: the file is too large", allowed=f"{LARGEST_FILE >> 20} MiB")
        told: Any = yaml.safe_load(raw.decode())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{where} cannot be read", do=problem) from None
    return parsed(told, where)


def parsed(told: object, where: str) -> dict[str, Rates]:
    """The rates of single findings, from plain data."""
    if not isinstance(told, Mapping) or not all(isinstance(name, str) for name in told):
        raise ConfigError(
            f"{where} is not a table of findings",
            given=told,
            allowed="FINDING: {sensitivity: 0.8, specificity: 0.95}",
        )
    each: dict[str, Rates] = {}
    for name, rates in told.items():
        if not isinstance(rates, Mapping) or not all(isinstance(key, str) for key in rates):
            raise ConfigError(f"{where}: {name}", given=rates, allowed="{sensitivity: 0.8, specificity: 0.95}")
        each[name] = plugins.validate(Rates, rates, f"{where}: {name}")
    return each


def _demand_informative(sensitivity: float, specificity: float) -> None:
    if sensitivity + specificity <= 1:
        raise ValueError(
            f"sensitivity and specificity must sum to more than 1, not {sensitivity + specificity:g}: "
            "such labels say nothing, or the opposite"
        )
