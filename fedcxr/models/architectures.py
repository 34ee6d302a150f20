"""Which backbones there are: a line each, and no other place of the project lists them. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from pydantic_core import PydanticKnownError, core_schema

from fedcxr.errors import UnknownName

_IMAGENET = "IMAGENET1K_V1"


@dataclass(frozen=True)
class Architecture:
    """What must be known of a backbone before it is imported.

    One that is none of ours is what `made_by` returns for `weights=None`: a network of three channels, normalised as
    ImageNet is, without its last layer.
    """

    made_by: str | None = None  # `package.module:function`; None: our own narrow network
    last: str = ""  # dotted name of the linear layer at its end
    side: int | None = None  # pixels along the films for which its pretrained weights were made; None: any
    any_side: bool = True  # whether it reads films of another size as they are; otherwise they are resized to `side`
    imagenet: str | None = None  # its weights by torchvision's name for them; None: there are none
    per_film: bool = True  # whether gradients of single films can be had of it, which differential privacy asks for


ARCHITECTURES: dict[str, Architecture] = {
    "narrow": Architecture(),
    "resnet18": Architecture("torchvision.models:resnet18", "fc", 224, imagenet=_IMAGENET),
    "resnet50": Architecture("torchvision.models:resnet50", "fc", 224, imagenet=_IMAGENET),
    "densenet121": Architecture("torchvision.models:densenet121", "classifier", 224, imagenet=_IMAGENET),
    "vit_b_16": Architecture(
        "torchvision.models:vit_b_16", "heads.head", 224, any_side=False, imagenet=_IMAGENET, per_film=False
    ),
}


def named(name: str) -> Architecture:
    """What is known under this name."""
    if name not in ARCHITECTURES:
        raise UnknownName("backbone", name, tuple(ARCHITECTURES))
    return ARCHITECTURES[name]


class _Named:
    """Lets a field of a contribution take the name of a backbone, as a Literal of all of them would."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(_known, core_schema.str_schema(strict=True))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(ARCHITECTURES), "type": "string"}


ArchitectureName = Annotated[str, _Named]


def _known(name: str) -> str:
    if name not in ARCHITECTURES:
        raise PydanticKnownError("literal_error", {"expected": _either(ARCHITECTURES)})
    return name


def _either(names: Iterable[str]) -> str:
    *most, last = (f"'{name}'" for name in names)
    return f"{', '.join(most)} or {last}" if most else last
