"""What a job is made of: the methods whose code it runs, the arguments that it reads, the hyper-parameters that it
writes into the metadata of what it makes. The rules ask here; no job does."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from string import Formatter
from typing import Any, NamedTuple

from workflow_scripts.common import catalog, fingerprint, spellings
from workflow_scripts.common.arguments import STEPS, architecture_axis, builds_network, find_reader
from workflow_scripts.common.cells import Study
from workflow_scripts.common.config import Config
from workflow_scripts.common.fields import format_value


class Need(NamedTuple):
    """An argument of a job: the key of its input, its own name, what a field names (nothing where none does), the
    hyper-parameters of the method that asks, and whether it is what the clean model stands on."""

    key: str
    name: str
    kind: str
    fields: dict[str, Any]
    clean: bool = False


class Wildcards:
    """Values by name, as Snakemake's wildcards have them."""

    def __init__(self, **values: str):
        self.__dict__.update(values)

    def items(self) -> Iterator[tuple[str, str]]:
        """Names and values."""
        return iter(self.__dict__.items())


class Kept(NamedTuple):
    """A file, and the step that makes it of which wildcards."""

    step: str
    path: str
    wildcards: Wildcards

    @classmethod
    def of(cls, step: str, template: str, w: Any, **changed: str) -> "Kept":
        """The file of these wildcards, some of them changed; the template's are those of the rule that makes it."""
        values = {name: changed[name] if name in changed else getattr(w, name) for name in _wildcards_of(template)}
        return cls(step, template.format(**values), Wildcards(**values))


class Planned(NamedTuple):
    """What a job reads, where its code begins, and its hyper-parameters by axis."""

    needs: tuple[Need, ...]
    code: frozenset[fingerprint.Definition]
    params: dict[str, Any]


@functools.cache
def _wildcards_of(template: str) -> tuple[str, ...]:
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name)


@dataclass(frozen=True, eq=False)
class Planner:
    """Resolves the wildcards of jobs by a configuration. Equal questions are answered once."""

    config: Config

    def method(self, axis: str, w: Any) -> tuple[str, dict[str, Any]]:
        """The name and the resolved hyper-parameters of the method that an axis of the wildcards names."""
        if axis == "dataset":
            return self.config.loader(w.dataset)
        spelling = getattr(w, axis)
        return spellings.method_name(spelling), self._resolve(catalog.KIND_OF_AXIS[axis], spelling, w.dataset)

    @functools.cached_property
    def _resolve(self) -> Callable[[str, str, str], dict[str, Any]]:
        return functools.cache(
            lambda kind, spelling, dataset: spellings.resolve(kind, spelling, self.config.settings_of(dataset))
        )

    def needs(self, step: str, w: Any) -> tuple[Need, ...]:
        """The arguments that a job reads from files: those of its method, those of the step, and what the architectures
        stand on that are built for them."""
        return self._job(step, w).needs

    def made(self, step: str, w: Any) -> dict[str, Any]:
        """What an artifact of this job is made by: the fingerprint of the code, the hyper-parameters by axis, and the
        wildcards, so that no cache can take one cell's for another's."""
        job = self._job(step, w)
        return {"fingerprint": fingerprint.of_code(job.code), "params": job.params, "wildcards": dict(w.items())}

    def code(self, step: str, w: Any) -> frozenset[fingerprint.Definition]:
        """Where the code of a job begins."""
        return self._job(step, w).code

    def set_otherwise(self, study: Study) -> dict[str, dict[str, dict[str, list[str]]]]:
        """By dataset, axis and the study's name, what its methods are set to otherwise than by their own defaults:
        `lr=0.1`."""
        found: dict[str, dict[str, dict[str, list[str]]]] = {}
        for _, name in study.asked:
            for axis in ("model", "attack", "defense"):
                kind, spelling = catalog.KIND_OF_AXIS[axis], getattr(name, axis)
                defaults = spellings.resolve(kind, spellings.method_name(spelling))
                chosen = self._resolve(kind, spelling, name.dataset)
                texts = [f"{key}={format_value(value)}" for key, value in chosen.items() if value != defaults[key]]
                found.setdefault(name.dataset, {}).setdefault(axis, {})[spelling] = texts
        return found

    def _job(self, step: str, w: Any) -> Planned:
        """The plan of a job; jobs that differ in other wildcards than those that name methods share it."""
        axes = sorted({STEPS[step].axis, *STEPS[step].records, "model"} - {"dataset"})
        spelled = {axis: getattr(w, axis) for axis in axes if hasattr(w, axis)}
        return self._plan(step, w.dataset, *spelled.items())

    @functools.cached_property
    def _plan(self) -> Callable[..., Planned]:
        return functools.cache(self._plan_job)

    def _plan_job(self, step: str, dataset: str, *spelled: tuple[str, str]) -> Planned:
        w, rule = Wildcards(dataset=dataset, **dict(spelled)), STEPS[step]
        name, own = self.method(rule.axis, w)
        kind = catalog.KIND_OF_AXIS[rule.axis]
        described = catalog.describe(kind, name)
        params = {rule.axis: {key: value for key, value in own.items() if key not in rule.ignores}}
        params |= {axis: self.method(axis, w)[1] for axis in rule.records}
        asked = dict.fromkeys((*(described.asks if rule.calls else ()), *rule.reads))
        needs = [Need(key, key, described.named.get(key, ""), own) for key in asked]
        methods = [(kind, name)]
        if rule.axis != "defense" and asked.keys() & {"defense", "defended"}:  # a model may carry the wrapper of one
            methods.append(("defenses", self.method("defense", w)[0]))
        for axis, clean in self._networks(rule.axis, asked, own, w):
            architecture, params[axis] = self._architecture(axis, own, w)
            methods.append(("models", architecture))
            below = catalog.describe("models", architecture).named
            needs = [need for need in needs if not (need.kind and axis == rule.axis)]
            needs += [Need(f"{'clean_' * clean}{axis}_{key}", key, below[key], params[axis], clean) for key in below]
        methods += [part for need in needs if need.kind == "auxiliaries" for part in self._auxiliary(need, dataset)]
        readers = tuple(find_reader(need.name, need.kind) for need in needs)
        return Planned(tuple(needs), frozenset(fingerprint.find_roots(step, *methods, readers=readers)), params)

    def _networks(self, asker: str, asked: Iterable[str], own: dict[str, Any], w: Any) -> dict[tuple[str, bool], None]:
        """The architectures that are built for these arguments, by axis, each also as the clean model's."""
        found: dict[tuple[str, bool], None] = {}
        for key in filter(builds_network, asked):
            clean = spellings.is_clean_model(key, getattr(w, "defense", ""))
            found[architecture_axis(asker, key, own), clean] = None
        return found

    def _architecture(self, axis: str, own: dict[str, Any], w: Any) -> tuple[str, dict[str, Any]]:
        if axis == "model":
            return self.method("model", w)
        return spellings.method_name(own[axis]), self._resolve("models", own[axis], w.dataset)

    def _auxiliary(self, need: Need, dataset: str) -> list[tuple[str, str]]:
        """An auxiliary and its architecture, whose code builds it again where it is loaded."""
        name = need.fields[need.name]
        return [("auxiliaries", name), ("models", self._resolve("auxiliaries", name, dataset)["backbone"])]
