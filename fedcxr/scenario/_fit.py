"""Whether the parts of a scenario, each of them right by itself, fit each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from fedcxr.adversaries import Adversary
from fedcxr.cohort import Annotation
from fedcxr.data import Source
from fedcxr.errors import ConfigError, UnknownName
from fedcxr.keys.provider import SERVER
from fedcxr.knowledge import Knowledge
from fedcxr.learning import Learning
from fedcxr.methods import Method, guarantee_of
from fedcxr.questions import Question
from fedcxr.tasks import Task


def check_grants(to: Iterable[str], given: bool, method: Method, sites: Sequence[str]) -> None:
    """Whether there are keys to grant, to somebody who is there."""
    if given and not method.keyed:
        raise ConfigError(
            "there are no keys to grant",
            given=f"{method.plugin_name()}, which shares {method.kind}",
            do="remove `grant`, or choose a method that shares codes",
        )
    for name in to:
        if name != SERVER and name not in sites:
            raise UnknownName("recipient of keys", name, (SERVER, *sites))


def check_alike(alike: str, method: Method, knowledge: Mapping[str, Knowledge]) -> None:
    """Whether films that are made alike break a promise, make a model that misreads all others, or a weak adversary."""
    if alike == "none":
        return
    name = method.plugin_name()
    if "model" in method.forms:
        raise ConfigError(
            "a model that learnt from films that were made alike would misread all others",
            given=f"alike: {alike}, with {name}",
            allowed="methods that share films or codes",
            do="set method.normalise, which is part of the model, or alike to none",
        )
    if guarantee_of(method) is not None:
        raise ConfigError(
            "gains that are fitted to all films of a hospital are not counted in what the method guarantees",
            given=f"alike: {alike}, with {name}",
            do="set alike to none, or choose a method without a guarantee",
        )
    for kind, known in knowledge.items():
        if known.sources:
            raise ConfigError(
                "films of the adversary's own from elsewhere are not made alike, which would weaken it",
                given=f"alike: {alike}, with knowledge.{kind}.source",
                do="leave that source out, or set alike to none",
            )


def check_learning(method: Method, public: Source | None, answers: Callable[[Learning], int]) -> None:
    """Whether there are films to learn from, and sites enough for the strategy."""
    learning = method.learning  # an unknown strategy or option is refused here
    if learning is None:
        return
    if "public" in (learning.place, learning.begins) and public is None:
        how = "fit" if learning.place == "public" else "start"
        raise ConfigError(
            "the method learns from public films, and there are none",
            given=f"{method.plugin_name()}, {how}: public",
            do="name their source under `public`",
        )
    if learning.place == "federated" and answers(learning) < learning.aggregation.fewest:
        raise ConfigError(
            f"the strategy {learning.strategy} needs more sites",
            given=f"{answers(learning)} sites that must answer in a round",
            allowed=f"{learning.aggregation.fewest} or more",
            do="raise min_sites, participation or sites, or choose another strategy",
        )


def check_task(name: str, task: Task, method: Method, sites: Sequence[str]) -> None:
    """Whether there will be anything for this task to read, from whomever it names."""
    for site in task.named_sites:
        if site not in sites:
            raise UnknownName(f"site in tasks.{name}", site, sites)
    if not set(task.forms) & set(method.forms):
        raise ConfigError(
            f"the task `{name}` has nothing to read in what the method releases",
            given=f"{task.forms[0]} of {method.plugin_name()}",
            allowed=" or ".join(method.forms),
        )


def check_annotations(who: str, needed: Sequence[Annotation], instead: str, sources: Sequence[Source]) -> None:
    """Whether any site's films carry the masks or boxes that a task is measured on, or a method learns from."""
    if not needed:
        return
    found = {annotation for source in sources for annotation in source.annotations}
    missing = [annotation for annotation in needed if annotation not in found]
    if missing:
        raise ConfigError(
            f"{who} needs annotations that no site's films have",
            given=f"{', '.join(missing)}; films of {', '.join(dict.fromkeys(s.plugin_name() for s in sources))}",
            allowed=", ".join(sorted(found)) or "none",
            do=f"{instead}, or choose films that have them",
        )


def check_questions(
    asked: Mapping[str, Question], adversaries: Mapping[str, Adversary], knowledge: Mapping[str, Knowledge]
) -> None:
    """Whether every question has an adversary, every adversary a question, and all know what they ask for."""
    answered = {name: one.answers for name, one in adversaries.items()}
    usual = {"linkage", *(name for own in answered.values() for name in own)}
    for name in asked:
        if name not in usual:
            raise ConfigError(
                f"no adversary answers the question `{name}`",
                given="; ".join(f"{who} answers {', '.join(own)}" for who, own in answered.items()) or "no adversaries",
                do="remove it from `questions`, or name an adversary that answers it",
            )
        for kind in asked[name].knows:
            if kind not in knowledge:
                raise UnknownName(f"kind of knowledge that the question `{name}` hands over", kind, knowledge)
    for who, own in answered.items():
        if not set(own) & asked.keys():
            raise ConfigError(
                f"the adversary `{who}` is asked nothing that it answers",
                given=", ".join(asked),
                allowed=" or ".join(own),
                do=f"add one of them to `questions`, or remove {who} from `adversaries`",
            )


def check_attack(name: str, adversary: Adversary, method: Method, knowledge: Mapping[str, Knowledge]) -> None:
    """Whether this adversary can attack this method, knowing what it is granted."""
    if not adversary.reads & set(method.forms):
        raise ConfigError(
            f"the adversary `{name}` has nothing to read in what the method releases",
            given=f"{method.plugin_name()}, which releases {method.kind}",
            allowed=" or ".join(sorted(adversary.reads)),
            do=f"remove it from `adversaries`, or choose another method than {method.plugin_name()}",
        )
    unable = adversary.running_mechanism
    if unable and not method.repeatable and "model" not in method.forms:  # a model can be learnt again
        raise ConfigError(
            f"the attacker `{unable[0]}` does to films of its own what the method does, and this one protects none",
            given=method.plugin_name(),
            do=f"set adversaries.{name}.attackers to others, or remove {name} from `adversaries`",
        )
    if unable and not knowledge["mechanism"].granted:
        others = [a for a in getattr(adversary, "attackers", ()) if a not in unable]
        raise ConfigError(
            f"the attacker `{unable[0]}` must know the mechanism",
            given="knowledge.mechanism: false",
            do=f"grant it, or set adversaries.{name}.attackers=[{', '.join(others)}]"
            if others
            else f"grant it, or remove {name} from `adversaries`",
        )
