"""What each ambiguation gives away to an adversary without a key, who knows codec and mechanism and owns other films.

    scripts/evidence sca                                        # phantoms, 256 px
    scripts/evidence sca --films DIR --table metadata.csv       # one's own films and their table

`prior` looks at nothing: it knows how often each channel is kept in each cell. `order`, `llr` and `net` are attacks on
the support (AUC within a film, mean over films). `picture` is the best of what llr and net decode, against the mean of
the adversary's films and against what the key's holder sees. `link` is how often the picture correlates most with its
own film among all attacked ones. `twice` intersects two releases. `same film` is the AUC of telling whether a film one
holds is the released one, `same patient` that of telling whether another film is of the same person; with the key, it
is that of correlating the films themselves. Brackets: 95 % intervals over patients.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from _films import ByPatient, add_options, halves, open_films

from fedcxr.adversaries import _support_net
from fedcxr.codes import Codes, entropy_bits, support
from fedcxr.codes.ambiguation import Ambiguation, Rule, ambiguate, purify
from fedcxr.codes.support import Practice, Scores
from fedcxr.keys import MasterKey
from fedcxr.methods import RunContext
from fedcxr.methods._codec import Codec
from fedcxr.methods.sca import Sca
from fedcxr.metrics import auc
from fedcxr.metrics.similarity import similarity
from fedcxr.rng import stream
from fedcxr.training.compute import Compute

VARIANTS: tuple[Ambiguation, ...] = ("published", "gaussian", "matched", "decoy", "keyed", "padded")
VERSION = "evidence"
SEAL = 28  # bytes of nonce and tag


@dataclass(frozen=True)
class Bench:
    """All that is the same for every ambiguation."""

    codec: Codec
    compute: Compute
    codes: Codes  # of all films
    films: npt.NDArray[np.uint8]
    own: npt.NDArray[np.intp]
    attacked: npt.NDArray[np.intp]
    patients: npt.NDArray[np.object_]  # of the attacked films
    by_patient: ByPatient
    keys: MasterKey
    options: argparse.Namespace

    def hidden(self, rule: Rule, rows: npt.NDArray[np.intp], release: str) -> Codes:
        """The public part of these films in a release of this name; decoys come from films of the same half."""
        key = self.keys.release_key(release)
        pool = self.own if np.isin(rows, self.own).all() else self.attacked
        few = 1 + max(1, -(-rule.s_n // rule.shape.s))
        public = []
        for row in rows:
            others = np.roll(pool, -int(np.flatnonzero(pool == row)[0]))[1 : 2 * few + 1]
            public.append(ambiguate(self.codes[row], rule, key.image_key(str(row)), VERSION, self.codes[others]).public)
        return np.stack(public)

    def picture(self, codes: npt.NDArray[np.generic], stored: bool) -> npt.NDArray[np.uint8]:
        return self.codec.picture(codes, (self.films.shape[1], self.films.shape[2]), stored)


def main() -> None:
    """One block of lines per ambiguation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--s", type=int, default=8)
    parser.add_argument("--s-n", type=int, default=24)
    parser.add_argument("--most", type=int, default=120, help="films attacked at most")
    parser.add_argument("--steps", type=int, default=400, help="training steps of the learned attacker")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    options = parser.parse_args()
    bench = _prepared(options)
    _baselines(bench)
    for variant in options.variants:
        _attack(bench, variant)


def _prepared(options: argparse.Namespace) -> Bench:
    cohort, compute = open_films(options), Compute.choose("cpu", "fp32")
    own, attacked = halves(cohort.patients, stream(options.seed, "halves"))
    attacked = attacked[: options.most]
    films = cohort.films()
    codec = Sca(s=options.s).codec({}, RunContext.on(compute))
    patients = cohort.patients[attacked]
    by_patient = ByPatient(patients, stream(options.seed, "bootstrap"))
    print(f"{len(own)} films of the adversary, {len(attacked)} attacked, {options.size} px, ", end="")
    print(f"s {options.s}, s_n {options.s_n}, seed {options.seed}")
    keys = MasterKey(stream(options.seed, "keys").bytes(32), "site", 1)
    return Bench(codec, compute, codec.encode(films), films, own, attacked, patients, by_patient, keys, options)


def _baselines(bench: Bench) -> None:
    """What the holder of a key sees, and what one knows who sees nothing."""
    films, codes = bench.films[bench.attacked], bench.codes[bench.attacked]
    print("\nwith the key")
    _tell_picture(bench, bench.picture(codes, stored=True))
    _tell_patients(bench, np.asarray(np.corrcoef(films.reshape(len(films), -1))))
    print("without looking (also: all that `sealed` leaves)")
    prior = support.prior(Practice(bench.codes[bench.own], bench.codes[bench.own], in_place=True), len(codes))
    _tell_support(bench, "prior", prior)
    _tell_picture(bench, _mean_film(bench))
    shape = Sca(s=bench.options.s).shape(films.shape[1:])
    sealed = shape.support_bytes + shape.kept + SEAL
    print(f"  bytes    sealed {sealed}, of which support {shape.support_bytes}")


def _attack(bench: Bench, variant: Ambiguation) -> None:
    options, codes = bench.options, bench.codes[bench.attacked]
    rule = Rule(variant, Sca(s=options.s).shape(bench.films.shape[1:]), options.s_n)
    public = bench.hidden(rule, bench.attacked, "attacked")
    practice = Practice(bench.hidden(rule, bench.own, "practice"), bench.codes[bench.own], not rule.shuffles)

    def hide(rows: npt.NDArray[np.intp], step: int) -> Codes:
        return bench.hidden(rule, bench.own[rows], f"practice {step}")

    budget, rng = _support_net.Budget(steps=options.steps), stream(options.seed, "net", variant)
    net = _support_net.train(practice, hide, bench.codec.expand, budget, rng, bench.compute)
    learnt, expected = net.attack(public)
    attacks: dict[str, Scores] = {"llr": support.likelihood_ratio(public, practice), "net": learnt}
    pictures = {"net": bench.picture(expected, stored=False)}
    if practice.in_place:
        attacks["order"] = support.exact_order(public, options.s_n)
        for name in ("order", "llr"):
            guess = np.where(support.chosen(attacks[name], options.s), public, np.int8(0))
            pictures[name] = bench.picture(guess, stored=True)
    print(f"\n{variant}")
    for name, scores in attacks.items():
        _tell_support(bench, name, scores)
    for name, picture in pictures.items():
        _tell_picture(bench, picture, name)
    again = bench.hidden(rule, bench.attacked, "attacked again")
    if practice.in_place:
        _tell_support(bench, "twice", support.intersection(public, again))
    else:
        agree, chance = (public == again).mean(axis=(1, 2, 3)), _agree_by_chance(public, again)
        told = [bench.by_patient.told(share, "{:.4f}".format) for share in (agree, agree - chance)]
        print(f"  twice    {told[0]} of values agree, {told[1]} more than by chance")
    compare = support.candidates_in_place if practice.in_place else support.candidates_by_values
    alike = compare(public, codes)
    same = np.eye(len(alike), dtype=bool)
    print(f"  same film AUC {auc(same.ravel(), alike.ravel()):.4f} over {len(alike)} candidates")
    _tell_patients(bench, alike)
    opened = [_opened(bench, rule, row) for row in bench.attacked]
    print(f"  the key gives {np.mean(opened):.1%} of films back exactly as they were coded")
    ideal = np.mean([entropy_bits(code.reshape(len(code), -1), axis=0) / 8 for code in public[:16]])
    sealed = rule.secret_bytes + SEAL
    print(f"  bytes    public {public[0].size} (entropy-coded {ideal:.0f}), sealed {sealed}")


def _opened(bench: Bench, rule: Rule, row: np.intp) -> bool:
    """Whether the film's own key gives its code back number by number."""
    key, others = bench.keys.release_key("attacked").image_key(str(row)), bench.codes[np.roll(bench.attacked, 1)]
    hidden = ambiguate(bench.codes[row], rule, key, VERSION, others[:8])
    return np.array_equal(purify(hidden.public, hidden.secret, rule, key, VERSION), bench.codes[row])


def _tell_patients(bench: Bench, alike: npt.NDArray[np.floating]) -> None:
    """How well these numbers, a row for each released and a column for each known film, tell who is who."""
    another = ~np.eye(len(alike), dtype=bool)
    genuine = (bench.patients[:, None] == bench.patients[None])[another]
    print(f"  same patient, another film: AUC {auc(genuine, alike[another]):.3f} over {genuine.sum()} pairs")


def _mean_film(bench: Bench) -> npt.NDArray[np.uint8]:
    mean = np.round(bench.films[bench.own].mean(axis=0)).astype(np.uint8)
    return np.broadcast_to(mean, (len(bench.attacked), *mean.shape))


def _agree_by_chance(public: Codes, again: Codes) -> npt.NDArray[np.float64]:
    """How often two independent orders of these values put equal ones in one place."""
    shares = [
        [np.bincount(code.ravel().astype(int) + 128, minlength=256) / code.size for code in x] for x in (public, again)
    ]
    return np.array([a @ b for a, b in zip(*shares, strict=True)])


def _tell_support(bench: Bench, name: str, scores: Scores) -> None:
    codes = bench.codes[bench.attacked]
    aucs = np.array([auc((code != 0).ravel(), own.ravel()) for code, own in zip(codes, scores, strict=True)])
    share = support.recovered(scores, codes, bench.options.s)
    print(f"  {name:8} AUC {bench.by_patient.told(aucs)}  recovered {bench.by_patient.told(share)}")


def _tell_picture(bench: Bench, picture: npt.NDArray[np.uint8], name: str = "") -> None:
    films = bench.films[bench.attacked]
    figures, baseline = similarity(films, picture), similarity(films, _mean_film(bench))
    linked = support.best_match(picture, films)
    gain = bench.by_patient.told(figures["psnr"] - baseline["psnr"], "{:+.2f}".format)
    print(f"  picture  {name:6}PSNR {bench.by_patient.told(figures['psnr'], '{:.2f}'.format)} dB  ", end="")
    print(f"SSIM {figures['ssim'].mean():.3f}  over the mean film {gain} dB  link {bench.by_patient.told(linked)}")


if __name__ == "__main__":
    main()
