"""The search for keys finds them however they are written, so that finding none means something."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import zstandard
from canary import BLOCK, FRAME, Search, leaks, written

KEY = bytes(range(150, 182))
CLEAN = bytes(range(32))


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        b"..." + KEY[5:13] + b"...",
        KEY.hex(),
        KEY.hex().upper(),
        KEY.hex(":"),
        repr(KEY),
        f"{list(KEY)}",
        json.dumps(list(KEY[3:20])),
        base64.b64encode(KEY),
        base64.b64encode(b"a" + KEY),
        base64.b64encode(b"ab" + KEY),
        base64.urlsafe_b64encode(KEY),
        ValueError(KEY),
        KeyError(KEY.hex()),
    ],
    ids=lambda shown: str(shown)[:20],
)
def test_a_key_is_found(shown: bytes | str | BaseException, tmp_path: Path) -> None:
    assert leaks([CLEAN, KEY], shown)
    assert not leaks([CLEAN], shown)
    if not isinstance(shown, BaseException):
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "file").write_bytes(shown if isinstance(shown, bytes) else shown.encode())
        assert leaks([KEY], tmp_path) == [str(tmp_path / "deep" / "file")]


def test_a_key_is_found_in_an_errors_cause() -> None:
    def fail() -> None:
        try:
            raise ValueError(KEY.hex())
        except ValueError:
            raise RuntimeError("hidden") from None

    with pytest.raises(RuntimeError) as error:
        fail()
    assert leaks([KEY], error.value)


def test_many_canaries_are_found_at_once_wherever_they_stand_and_packed_too() -> None:
    parts = [KEY[start : start + 15] for start in range(18)]
    search = Search({trace: f"part {n}" for n, part in enumerate(parts) for trace in written(part)})
    assert search.found(CLEAN, b"", b"short", FRAME + CLEAN) == set()
    assert search.found(CLEAN + parts[7]) == {"part 7"}
    assert search.found(b"." * (BLOCK - 5) + parts[2]) == {"part 2"}, "across two blocks"
    assert search.found(b"." * (BLOCK + 20) + parts[3].hex().encode()) == {"part 3"}
    assert search.found(CLEAN + zstandard.compress(parts[5] + CLEAN) + CLEAN) == {"part 5"}
    assert search.found(base64.b64encode(b"?" + KEY)) >= {"part 2", "part 5"}
    assert search.found(parts[0][:-1] + parts[1][1:-1]) == set(), "nothing of them is whole"
