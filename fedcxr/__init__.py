"""Find out how useful shared chest X-rays would be, and who could be re-identified from them, before sharing them.

import fedcxr

result = fedcxr.simulate(sites=5, method="noise", scale=0.2)
result.worst_case, result.frame()

Also `fedcxr.study(plan)`, `fedcxr.audit(original=..., released=...)` and `fedcxr.load(folder)`. What these need is
imported when they are asked for: `import fedcxr` is instant.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # as type checkers know it, without importing typing
if TYPE_CHECKING:
    from fedcxr.python import audit as audit
    from fedcxr.python import load as load
    from fedcxr.python import simulate as simulate
    from fedcxr.python import study as study

_CALLED = ("simulate", "study", "audit", "load")


def __getattr__(name: str) -> object:
    if name not in _CALLED:
        raise AttributeError(f"module 'fedcxr' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("fedcxr.python"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_CALLED})
