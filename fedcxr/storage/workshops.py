"""Where sites keep half-done learning, so that a kill costs minutes and not hours: made of films, so not for long.

folder/RUN-SITE/   one site's in one run: gone once the site has released or has failed for good, else after a week
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedcxr.errors import StorageError
from fedcxr.storage.private import private_folder

KEPT_S = 7 * 24 * 3600  # after the last checkpoint: nobody will resume it


@dataclass(frozen=True)
class Workshops:
    """A folder of workshops, for one user's eyes alone."""

    folder: Path

    @classmethod
    def below(cls, cache: Path) -> Workshops:
        """The workshops' place in a cache folder."""
        return cls(cache / "workshop")

    def of(self, run: str, site: str) -> Path:
        """Where this site keeps what it learns in this run."""
        return self.folder / f"{run}-{site}"

    @contextlib.contextmanager
    def open(self, run: str, site: str, *, last: bool = True) -> Iterator[Path]:
        """A workshop to work in; after the last time it is cleared, unless the work can go on from it.

        A kill can be resumed, and so can work that the disk stopped. What a method raised, it will raise again.
        """
        with contextlib.suppress(OSError):  # whoever writes there will be told
            private_folder(self.folder)
        self.sweep()
        place = self.of(run, site)
        try:
            yield place
        except StorageError:
            raise
        except Exception:
            if last:
                shutil.rmtree(place, ignore_errors=True)
            raise
        if last:
            shutil.rmtree(place, ignore_errors=True)

    def clear(self, run: str) -> None:
        """Remove what the sites of a run that is over have left on this machine."""
        for place in self._all():
            if place.name.startswith(f"{run}-"):
                shutil.rmtree(place, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what nobody has touched for a week."""
        for place in self._all():
            with contextlib.suppress(OSError):  # another process was quicker
                if time.time() - max(path.stat().st_mtime for path in (place, *place.iterdir())) > KEPT_S:
                    shutil.rmtree(place, ignore_errors=True)

    def _all(self) -> list[Path]:
        try:
            return [place for place in self.folder.iterdir() if place.is_dir() and not place.is_symlink()]
        except OSError:
            return []
