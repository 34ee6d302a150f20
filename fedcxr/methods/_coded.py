"""What methods that share codes have in common: the codec, its learning, and the form of a release of codes.

A release of codes holds whatever arrays the method made of each film, row by row, and its findings and split, sealed or
in the clear. The key of the film in row i is the image key `i` of the release's key, which its site's key provider has.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from fedcxr.codes import Codes, Shape
from fedcxr.cohort import SPLITS, Cohort
from fedcxr.errors import DataError, Refused
from fedcxr.keys import ImageKey, MasterKey, ReleaseKey, SomeKeys
from fedcxr.learning import Learning
from fedcxr.methods import Films, Form, Held, Method, Round, RunContext, Weights, _labels
from fedcxr.release import LABELS, Kind, Release
from fedcxr.view import Holder, Shared, Told

if TYPE_CHECKING:
    from fedcxr.codes.support import Scores
    from fedcxr.methods._codec import Codec, CoderDesign

# Torch and the codec are imported where they are used: a scenario is read, checked and refused by processes
# that must start in a fraction of a second, and importing torch alone takes longer.

FORMAT = 1
ONE_TURN = Round()
Arrays = dict[str, npt.NDArray[np.generic]]
Fit = Literal["none", "public", "local", "federated"]


def release_key(site: str, rng: np.random.Generator) -> ReleaseKey:
    """A key for somebody who keeps none: an adversary at practice, a test of a method by itself."""
    return MasterKey(rng.bytes(MasterKey.length), site, epoch=1).release_key("1")


class CodeMethod(Method):
    """A method that shares sparse codes: every 8 x 8 cell of a film, or square of cells, keeps its largest numbers."""

    kind: ClassVar[Kind] = "codes"
    keyed: ClassVar[bool] = True

    # What is on a film, and with it who is on it as far as findings tell: of all, with or without a key.
    shows: ClassVar[Mapping[str, tuple[object, ...]]] = {"findings": ("clear",)}

    s: int = pydantic.Field(default=8, ge=1, le=32, description="numbers kept in each cell of 8 x 8 pixels")
    maps: int = pydantic.Field(default=1, ge=1, le=4, description="code maps; each codes what those before left over")
    together: int = pydantic.Field(
        default=1, ge=1, le=8, description="cells of a square so many wide share their numbers: s per cell on average"
    )
    findings: Literal["sealed", "clear"] = pydantic.Field(
        default="sealed", description="findings and splits under the keys of their films, or for all to read"
    )
    fit: Fit = pydantic.Field(default="none", description="none: the lapped DCT as it is; otherwise who trains it")
    refinement: int = pydantic.Field(default=128, ge=0, le=1024, description="channels of the trained refinement")
    rounds: int = pydantic.Field(default=1, ge=0, le=8, description="how often a trained coder corrects its choice")
    steps: int = pydantic.Field(default=6000, ge=1, le=1_000_000)
    learning_rate: float = pydantic.Field(default=3e-3, gt=0, le=1)
    crop: int = pydantic.Field(default=64, ge=16, le=4096, description="pixels of the square crops it is trained on")
    turns_together: int = pydantic.Field(default=3, ge=1, le=1000, description="turns of learning, if federated")

    @property
    def forms(self) -> tuple[Form, ...]:
        return ("films", "purified")

    @property
    def learning(self) -> Learning | None:
        if self.fit == "none":
            return None
        return Learning(self.fit, self.turns_together if self.fit == "federated" else 1)

    def on_smoke_budget(self) -> Self:
        return self.model_copy(update={"steps": min(self.steps, 20), "refinement": min(self.refinement, 8)})

    def initial(self, rng: np.random.Generator) -> Weights:
        from fedcxr.methods import _codec

        return {} if self.learning is None else _codec.initial(self.design(), rng)

    def learn(
        self,
        cohort: Cohort,
        rng: np.random.Generator,
        context: RunContext,
        start: Weights | None = None,
        turn: Round = ONE_TURN,
    ) -> Weights:
        from fedcxr.methods import _codec

        if self.learning is None:
            return {}
        return _codec.learn(self.design(-(-self.steps // turn.of)), cohort, rng, context, start)

    def design(self, steps: int = 0) -> CoderDesign:
        """The coder this method uses, to be trained for so many steps."""
        from fedcxr.methods._codec import CoderDesign

        coder = (self.s, self.maps, self.together, self.refinement, self.rounds)
        return CoderDesign(*coder, steps, self.learning_rate, self.crop)

    def codec(self, weights: Weights, context: RunContext) -> Codec:
        """The coder at work."""
        from fedcxr.methods._codec import Codec

        return Codec(self.design(), weights, context.compute)

    def shape(self, size: tuple[int, int]) -> Shape:
        """Of the code of a film of this size."""
        return Shape.of_film(size, self.s, self.maps, self.together)

    @abstractmethod
    def hide(self, codes: Codes, first: int, keys: ReleaseKey, version: str, size: tuple[int, int]) -> Arrays:
        """What is released of some films: arrays of as many rows. `first` is the first film's row in the release."""

    @abstractmethod
    def find(self, release: Release, row: int, key: ImageKey) -> Codes:
        """The code of the film in this row, for those who have its key; a wrong key is refused."""

    @property
    def hides_among_others(self) -> bool:
        """Whether a film's fakes are numbers of other films."""
        return False

    @property
    def order_tells(self) -> bool:
        """Whether the order of public values gives away which are true."""
        return False

    def by_order(self, public: Codes) -> Scores | None:
        """What the order of values in their places says of which are true; None: it says nothing."""
        return None

    @property
    def in_place(self) -> bool:
        """Whether public values stand where their channel and cell are."""
        return False

    @property
    def sizes_tell(self) -> bool:
        """Whether how often each size of value occurs in public is the film's own."""
        return True

    @abstractmethod
    def mechanism(self) -> Mapping[str, object]:
        """What an authorised reader must know to use a key, as public facts."""

    def release(
        self, cohort: Cohort, keys: ReleaseKey, weights: Weights, rng: np.random.Generator, context: RunContext
    ) -> Release:
        codec, version = self.codec(weights, context), self.version(weights)
        parts: list[Arrays] = []
        done = 0
        for films in cohort.chunks():
            parts.append(self.hide(codec.encode(films), done, keys, version, cohort.size))
            done += len(films)
            context.progress("release", done, len(cohort))
        hidden: Arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        facts = {
            "findings": list(cohort.findings),
            "splits": list(SPLITS),
            "size": list(cohort.size),
            "version": version,
            "key": {"release": keys.origin.release, "epoch": keys.origin.epoch},
            "codec": {"s": self.s, "maps": self.maps, "together": self.together, "fit": self.fit},
            **self.mechanism(),
        }
        arrays = {**hidden, **self._told_of(cohort, keys, version)}
        release = Release("codes", keys.origin.site, self.plugin_name(), arrays, facts)
        # What a single site has learnt reaches those it grants its films to with these films and in no other way.
        return release.publishing(weights) if weights and self.fit == "local" else release

    @property
    def tells_findings(self) -> bool:
        return self.findings == "clear"

    def _told_of(self, cohort: Cohort, keys: ReleaseKey, version: str) -> Arrays:
        if not self.tells_findings:
            return {LABELS: _labels.seal(cohort, keys, version)}
        return {"findings": cohort.labels, "split": cohort.splits}

    def told(self, release: Release, holder: Holder) -> Told:
        if self.tells_findings:
            return super().told(release, holder)
        try:
            keys = holder.keys(release)
        except Refused:  # why, the view of its films says
            return Told.nothing(len(release), len(release.facts["findings"]))
        return _labels.unseal(release, self.rows(release, keys), keys, str(release.facts["version"]))

    def per_film_told(self, findings: int) -> Mapping[str, Held]:
        if self.tells_findings:
            return super().per_film_told(findings)
        return {LABELS: ("uint8", (_labels.length(findings),))}

    def rows(self, release: Release, keys: ReleaseKey | SomeKeys) -> npt.NDArray[np.intp]:
        """Which films of a release these keys open, by row."""
        if isinstance(keys, ReleaseKey):
            return np.arange(len(release))
        known = {str(row): row for row in range(len(release))}
        return np.sort(np.array([known[image] for image in keys.images if image in known], dtype=np.intp))

    def purified(self, release: Release, keys: ReleaseKey | SomeKeys, weights: Weights) -> Codes:
        """The codes of the films that these keys open, in the release's order."""
        self._check(release, weights)
        try:
            codes = [self.find(release, row, keys.image_key(str(row))) for row in self.rows(release, keys)]
        except DataError as why:  # its own site sealed it so
            raise Refused("what a release has sealed is no code", given=release.site, do=str(why)) from None
        return np.stack(codes) if codes else np.empty((0, *self.shape(release.size).code), dtype=np.int8)

    def decoded(self, codes: Codes, release: Release, weights: Weights, context: RunContext) -> Films:
        """What some codes of a release show."""
        if not len(codes):
            return np.empty((0, *release.size), dtype=np.uint8)
        return self.codec(weights, context).decode(codes, release.size)

    def version(self, weights: Weights) -> str:
        """What a key is used for: these parameters with these weights and no others."""
        digest = hashlib.sha256()
        for name, array in sorted(weights.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        told = {"format": FORMAT, "s": self.s, "maps": self.maps, "together": self.together, **self.mechanism()}
        return f"{self.plugin_name()} {told} {digest.hexdigest()[:16] if weights else 'untrained'}"

    def check(self, shared: Shared, context: RunContext) -> None:
        for release in shared.releases:
            self._check(release, shared.weights_behind(release))

    def _check(self, release: Release, weights: Weights) -> None:
        if release.facts.get("version") != self.version(weights):
            raise DataError(
                "this release was made with another codec",
                given=release.facts.get("version"),
                allowed=self.version(weights),
            )
