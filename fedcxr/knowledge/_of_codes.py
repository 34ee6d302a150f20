"""What can be granted only where a method hides something under keys."""

from __future__ import annotations

from fedcxr.errors import ConfigError
from fedcxr.knowledge import Knowledge
from fedcxr.methods import Method


def check_keyed(knowledge: Knowledge, method: Method) -> None:
    """Refuse to grant what a method without keys does not have."""
    if not knowledge.granted or method.keyed:
        return
    key, (given, *_) = knowledge.plugin_name(), knowledge.model_dump().values()
    usual = next(iter(type(knowledge).model_fields.values())).default
    raise ConfigError(
        f"knowledge.{key} is of released codes, and this method releases none",
        given=f"{given}, with {method.plugin_name()}, which releases {method.kind}",
        allowed=str(usual),
        do=f"remove knowledge.{key}, or choose a method that shares codes, such as sca",
    )
