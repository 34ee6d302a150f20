"""What the coordinator takes from a site: all that readers will need of a release is there before anybody reads it.

First by what the release says of itself, before anything of it is unpacked; then by what it holds; at last, when all
have answered, by what the others sent. Whatever is wrong is its site's, who is dropped by name, and the rest goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping

from fedcxr.errors import Refused
from fedcxr.learning import Report
from fedcxr.learning.bounds import check_weights
from fedcxr.methods import guarantee_of
from fedcxr.protocol import COORDINATOR, context_of, initial_step
from fedcxr.release import LABELS, WEIGHTS, Header, Release, Stated, memory
from fedcxr.scenario import Scenario
from fedcxr.view import Shared

Size = tuple[int, int]

MOST_ROWS = 128  # for each film that a site holds: a method may share several made of it, or films of nobody
LARGEST_WEIGHTS = 1 << 30  # bytes: a network ten times as large as any here
LONGEST_SIDE = 1 << 12  # pixels of a film, where the scenario does not say


def admit(header: Header, scenario: Scenario, images: int) -> None:
    """Refuse, by its header, a release that is not what the scenario's method makes of so many films of that size."""
    method = scenario.method
    if header.method != method.plugin_name():
        raise Refused("a release in another's name", given=header.method, allowed=method.plugin_name())
    if header.kind != method.kind:
        raise Refused("a release of another kind", given=header.kind, allowed=method.kind)
    rows, weights = _rows(header), _weights(header)
    alone = method.learning is not None and method.learning.place == "local"
    size = sum(stated.size for stated in weights.values())
    if size > (LARGEST_WEIGHTS if alone else 0):
        raise Refused("a release with weights that are too large, or not asked for", given=f"{size} bytes")
    if header.kind != "update":
        _admit_rows(header, rows, scenario, images)
    elif (held := method.per_film((1, 1))) is not None and rows.keys() - held.keys():
        raise Refused("a release of other arrays than its method makes", given=", ".join(rows))


def _admit_rows(header: Header, rows: Mapping[str, Stated], scenario: Scenario, images: int) -> None:
    size, known = _size(header), film_size(scenario)
    if size != (known or size) or max(size) > LONGEST_SIDE:
        raise Refused("a release of films of another size", given=size, allowed=str(known or LONGEST_SIDE))
    lengths = {stated.shape[0] if stated.shape else 0 for stated in rows.values()}
    if max(lengths, default=0) > MOST_ROWS * max(images, 1):
        raise Refused("a release of more rows than the site's films can make", given=max(lengths), allowed=str(images))
    held = scenario.method.per_film(size)
    if held is None:
        return
    names = header.facts.get("findings")
    expected = {**held, **scenario.method.per_film_told(len(names) if isinstance(names, list) else 0)}
    told = {name: (stated.dtype, stated.shape[1:]) for name, stated in rows.items()}
    if told != expected:
        raise Refused("a release of other arrays than its method makes", given=told, allowed=str(expected))


def accept(release: Release, scenario: Scenario, learnt: Release | None, images: int) -> None:
    """Refuse a release that readers could not read, or reckon with."""
    method = scenario.method
    if not release.accounts_for(images):
        told = len(release) + len(release.left_out)
        raise Refused("a release of more or fewer films than the site holds", given=told, allowed=str(images))
    if "reported" in release.facts:
        report = Report.of(release, 1)
        if report.films > images:
            raise Refused("a report of more films than the site holds", given=report.films, allowed=str(images))
        guarantee_of(method, [report])  # raises where none can be reckoned from it
    check_weights(release.weights, release.site)
    method.check(Shared([release], learnt), context_of(scenario, COORDINATOR, None))


def odd_ones(headers: Mapping[str, Header], scenario: Scenario) -> dict[str, str]:
    """By site, why what it sent cannot be read with what the others sent: with most of them, it does not agree."""
    found = _too_large({site: sum(one.size for one in header.arrays.values()) for site, header in headers.items()})
    sizes = {site: _size(header) for site, header in headers.items() if header.kind != "update"}
    found |= _against(sizes, film_size(scenario), "a release of films of another size than the others'")
    rows = {site: _layout(_rows(header), 1) for site, header in headers.items()}
    found |= _against(rows, None, "a release of other arrays than the others'")
    weights = {site: _layout(_weights(header), 0) for site, header in headers.items()}
    if len(set(weights.values())) > 1:
        known = frozenset((name, a.dtype.name, a.shape) for name, a in initial_step(scenario).arrays.items())
        found |= _against(weights, known or None, "a release with weights of another network than the others'")
    return found


def _too_large(sizes: Mapping[str, int]) -> dict[str, str]:
    """The largest, as far as all together would fill the memory of this machine without them."""
    left = dict(sizes)
    while sum(left.values()) > memory() // 2:
        left.pop(max(sorted(left), key=left.__getitem__))
    why = "a release that is too large for this machine beside the others'"
    return {site: f"{why}; given: {size} bytes" for site, size in sizes.items() if site not in left}


def _against(told: Mapping[str, Hashable], known: Hashable | None, why: str) -> dict[str, str]:
    """Whoever does not tell what is known, or else what most tell; of as many, what was told first."""
    if not told:
        return {}
    right = Counter(told.values()).most_common(1)[0][0] if known is None else known
    return {site: why for site, one in told.items() if one != right}


def film_size(scenario: Scenario) -> Size | None:
    """Height and width of everybody's films, where the scenario says."""
    sources = (scenario.cohort, *scenario.own_sources.values())
    size = next((size for source in sources if isinstance(size := getattr(source, "size", None), int)), None)
    return None if size is None else (size, size)


def _size(header: Header) -> Size:
    """Of its films, as a header says it; refused unless it does."""
    films = header.arrays.get("films")
    told = films.shape[1:] if header.kind == "images" and films is not None else header.facts.get("size")
    if not isinstance(told, list | tuple) or len(told) != 2 or not all(type(n) is int and n > 0 for n in told):
        raise Refused("a release tells the size of its films", given=told)
    return told[0], told[1]


def _rows(header: Header) -> dict[str, Stated]:
    return {name: stated for name, stated in header.arrays.items() if not name.startswith(WEIGHTS)}


def _weights(header: Header) -> dict[str, Stated]:
    return {name: stated for name, stated in header.arrays.items() if name.startswith(WEIGHTS)}


def _layout(arrays: Mapping[str, Stated], first: int) -> Hashable:
    """Names, types and shapes, without the first so many dimensions; each site has findings of its own."""
    own = ("findings", LABELS)
    return frozenset((name, s.dtype, s.shape[first:]) for name, s in arrays.items() if name not in own)
