"""What people are shown of an attack on identities: a line per attacker, and a word of doubt where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcxr.questions import _rising
from fedcxr.table import Row, Table, figure, share, span
from fedcxr.verdict import recipients as in_words
from fedcxr.verdict.linkage import PEOPLE, Wording, linkage

HEADS = ("AUC", "95 % interval", "same site", "rank 1", "at 1 % FPR", "raw", "shuffled")
CONTROLS = "raw and shuffled are controls, to be near 1 and .5"

Entry = Mapping[str, Any]


def linkage_table(
    title: str,
    entries: Sequence[Entry],
    worst: Entry | None,
    floor: Entry | None,
    wording: Wording = PEOPLE,
    recipients: Sequence[Entry] = (),
) -> Table:
    """Of entries of one question; `worst` is the worst case of all, and `recipients` are who has keys or has none."""
    rows = [_row(entry, worst if worst and _same(worst, entry) else None) for entry in entries]
    if floor:
        rows.append(Row("from the findings alone", (figure(floor["auc"]["value"]), span(floor["auc"]["ci95"]))))
    if recipients:
        title = f"{title} {in_words.called(recipients[0])}"
    for one in recipients:
        if one["role"] != "adversary":
            about = f"{in_words.called(one)}: {one['opens']:,} films open"
            rows.append(Row(about, (figure(one["auc"]["value"]), span(one["auc"]["ci95"]))))
    verdict = (*linkage(entries, floor, wording), *in_words.recipients(recipients))
    return Table(title, HEADS, tuple(rows), (CONTROLS, *_chance(entries)), verdict)


def _row(entry: Entry, worst: Entry | None) -> Row:
    worst = worst if entry["conclusive"] else None  # a figure that proves nothing is the worst of nothing
    at_least = "at least " if worst and worst["lower_bound"] else ""
    cells = (
        at_least + figure(entry["auc"]["value"]),
        span(entry["auc"]["ci95"]),
        figure(entry["same_site_auc"]),
        share(entry["rank1"]),
        share(entry["tpr_at_fpr"]["0.01"]),
        figure(entry["control_raw_auc"]),
        figure(entry["control_shuffled_auc"]),
    )
    return Row(f"{entry['adversary']}, {entry['attacker']}{' (worst case)' if worst else ''}", cells, _doubt(entry))


def _doubt(entry: Entry) -> str:
    words = (
        "" if entry["conclusive"] else "inconclusive",
        "not trusted" if entry["trust"]["reasons"] else "",
        _rising.verdict(entry),
    )
    return ", ".join(filter(None, words))


def _chance(entries: Sequence[Entry]) -> tuple[str, ...]:
    """What these patients cannot show."""
    smallest = max((entry["smallest_auc"] for entry in entries if entry["smallest_auc"] is not None), default=None)
    return () if smallest is None else (f"with these patients, an AUC up to {figure(smallest)} may be chance",)


def _same(worst: Entry, entry: Entry) -> bool:
    return all(worst[who] == entry[who] for who in ("question", "adversary", "attacker"))
