"""The catalog as text to read: each method with its paper, what it is handed, its fields, and what datasets change."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from workflow_scripts.common import catalog, docstrings, spellings
from workflow_scripts.common.config import Config
from workflow_scripts.common.errors import UserError, find_near, join_names
from workflow_scripts.common.fields import Field, format_value

WIDTH = 120
KINDS = (*(kind for kind in catalog.BASES if kind != "wrappers"), "wrappers")
"""In the order in which they are shown."""
NOTES = {
    "datasets": "loaders; a study names what config.yaml makes of them",
    "defenses": "a control is none, and shows what a number is worth",
    "detectors": "a defense's field names one",
    "auxiliaries": "a model's field `extractor` names one",
    "analyses": "what is measured of a cell",
    "wrappers": "no study names one: a defense puts it into the network",
}
TITLED = ("attacks", "defenses", "detectors")
"""The kinds whose files begin with the title of a paper; others begin with what the method is."""
NO_CONFIG = Config((), {}, {})


def write_listing(names: Sequence[str], config: Config = NO_CONFIG) -> str:
    """What there is of these names, of kinds, methods and datasets; an overview of all where there are none. A dataset
    beside others chooses whose settings are shown. UserError, with what is near, where there is nothing of a name."""
    if not names:
        return write_overview(config)
    for name in names:
        _check_name(name, config)
    asked = tuple(dict.fromkeys(names))
    datasets = [name for name in asked if name in config.datasets]
    shown = _narrow(config, datasets) if datasets else config
    pages = [page for name in asked for page in _write_pages(name, shown)]
    return "\n\n\n".join(pages or [write_dataset(name, config) for name in datasets])


def _check_name(name: str, config: Config) -> None:
    """UserError where no kind, method or dataset has this name."""
    known = {*KINDS, *config.datasets, *(method for kind in KINDS for method in catalog.list_methods(kind))}
    if name not in known:
        hint = find_near(name, known) or f"the kinds are: {join_names(KINDS)}"
        raise UserError(f"no kind, method or dataset {name!r}; {hint}")


def _narrow(config: Config, datasets: Sequence[str]) -> Config:
    """The configuration as if it had only these datasets."""
    return replace(config, datasets={name: config.datasets[name] for name in datasets})


def _write_pages(name: str, config: Config) -> Iterator[str]:
    """The pages of a kind, or of the methods of a name; none of a loader where a dataset has its name, too."""
    if name in KINDS:
        yield write_kind(name, config)
    for kind in KINDS:
        if name in catalog.list_methods(kind) and not (kind == "datasets" and name in config.datasets):
            yield write_method(kind, name, config)


def write_overview(config: Config = NO_CONFIG) -> str:
    """A line for each method of each kind, and how to ask for more."""
    parts = []
    for kind in KINDS:
        methods = catalog.list_methods(kind)
        width = max(map(len, methods), default=0)
        parts.append("\n".join([_head_kind(kind), *(_write_line(kind, method, width) for method in methods)]))
    datasets = f", of a dataset ({join_names(config.datasets)})" if config.datasets else ""
    more = f"`python -m workflow_scripts NAME ...` says more of a kind (attacks), of a method (badnets){datasets}."
    return "\n\n".join([*parts, "\n".join(_wrap(more, ""))])


def _head_kind(kind: str) -> str:
    return f"{kind.upper()}: {NOTES[kind]}" if kind in NOTES else kind.upper()


def _head_fields(config: Config) -> str:
    settings = ", and what config.yaml sets on a dataset" if config.datasets else ""
    return f"Fields with their defaults as a study spells them, what they may be{settings}:"


def _write_line(kind: str, method: str, width: int) -> str:
    """A method's line of the overview: its name, what marks it, what it is, and the paper in short."""
    sentence = docstrings.read_first_sentence(kind, method)
    paper = docstrings.find_paper(sentence)
    short = f" ({docstrings.shorten_paper(paper)})" if paper else ""
    told = sentence.replace(f" ({paper})", "") if kind in TITLED else docstrings.read_title(kind, method)
    text = f"{_format_marks(kind, method)} {told}".strip().rstrip(".")
    name = f"  {method:<{width}}  "
    return name + textwrap.shorten(text, WIDTH - len(name) - len(short), placeholder=" …") + short


def write_kind(kind: str, config: Config = NO_CONFIG) -> str:
    """All methods of a kind, each with its title and what it is in a sentence, what it is handed and its fields."""
    parts = []
    for method in catalog.list_methods(kind):
        name = f"{method} {_format_marks(kind, method)}".strip()
        told = [
            *_wrap(f"{name}: {docstrings.read_title(kind, method)}", ""),
            *_wrap(docstrings.read_first_sentence(kind, method)),
        ]
        parts.append("\n".join([*told, *_write_handed(kind, method), *_write_fields(kind, method, config)]))
    return "\n\n".join([f"{_head_kind(kind)}\n{_head_fields(config)}", *parts])


def write_method(kind: str, method: str, config: Config = NO_CONFIG) -> str:
    """All that there is to say of a method: the title of its file, its docstring and those of the classes that it has
    fields from, what it is handed, and its fields."""
    name = f"{kind.upper()}: {method} {_format_marks(kind, method)}".strip()
    head = [name, *_wrap(docstrings.read_title(kind, method)), *_write_handed(kind, method)]
    parts = ["\n".join(head), "\n".join(_indent(docstrings.read_docstring(kind, method).splitlines()))]
    for owner, text in docstrings.read_inherited(kind, method).items():
        parts.append("\n".join([f"  From {owner}:", *_indent(text.splitlines(), 4)]))
    if fields := _write_fields(kind, method, config):
        parts.append("\n".join([_head_fields(config), *fields]))
    return "\n\n".join(part for part in parts if part)


def write_dataset(dataset: str, config: Config) -> str:
    """A dataset's loader, and of each method whose settings differ there the fields that do."""
    alone = _narrow(config, [dataset])
    entry = join_names(f"{key}: {spell(value)}" for key, value in config.datasets[dataset].items())
    head = [f"{dataset}: {{{entry}}}", write_method("datasets", config.loader(dataset)[0], alone)]
    parts = []
    for kind in (kind for kind in KINDS if kind != "datasets"):
        for method in catalog.list_methods(kind):
            if changed := _write_fields(kind, method, alone, only_changed=True):
                parts.append("\n".join([f"{kind.upper()}: {method}", *changed]))
    told = f"What config.yaml sets for methods on {dataset}, beside their defaults:"
    return "\n\n".join([*head, *([told, *parts] if parts else [f"On {dataset} all methods have their defaults."])])


def _format_marks(kind: str, method: str) -> str:
    """`[control]` and its like; `` of a method that nothing sets apart."""
    marks = []
    if kind == "defenses" and spellings.is_control(method):
        marks.append("control")
    if kind == "attacks" and catalog.describe(kind, method).traits.get("clean_label"):
        marks.append("clean-label")
    if kind == "attacks" and spellings.is_implant(method):
        marks.append("controls training")
    return f"[{', '.join(marks)}]" if marks else ""


def _write_handed(kind: str, method: str) -> list[str]:
    asks = catalog.describe(kind, method).asks
    return _wrap(f"{'stands on' if kind == 'models' else 'is handed'}: {join_names(asks)}") if asks else []


def _write_fields(kind: str, method: str, config: Config, only_changed: bool = False) -> list[str]:
    """A line for each field, and one for what `--config dataset=…` puts in the method's or its ratio's place."""
    on = {dataset: _resolve_on(dataset, kind, method, config) for dataset in config.datasets}
    lines = []
    for key, field in catalog.describe(kind, method).fields.items():
        changed = {dataset: values[key] for dataset, values in on.items() if values[key] != field.default}
        if changed or not only_changed:
            lines.append(_write_row(f"{key}: {spell(field.default)}", describe_type(field), _format_settings(changed)))
    for what, values in _find_replacements(kind, method, config).items():
        lines.append(_write_row("--config dataset=…", what, _format_settings(values)))
    return lines


def _write_row(value: str, kind: str, settings: str) -> str:
    return f"  {value:<32}  {kind:<40}  {settings}".rstrip()


def _resolve_on(dataset: str, kind: str, method: str, config: Config) -> dict[str, Any]:
    """A method's fields on a dataset that no study has set; of the dataset's loader, what its entry says."""
    if kind == "datasets":
        loader, fields = config.loader(dataset)
        return fields if loader == method else spellings.resolve(kind, method)
    return spellings.resolve(kind, method, config.settings_of(dataset))


def _find_replacements(kind: str, method: str, config: Config) -> dict[str, dict[str, Any]]:
    """What a study gets in place of a model or a ratio when it is run on a dataset that is not its own: in words what
    it is, then by dataset."""
    words = {
        "models": ("replace_models", "puts another model in its place"),
        "attacks": ("largest_ratios", "asks for a ratio of at most"),
    }
    if kind not in words:
        return {}
    key, what = words[kind]
    replaced = {dataset: config.settings_of(dataset).get(key, {}) for dataset in config.datasets}
    values = {dataset: entries[method] for dataset, entries in replaced.items() if method in entries}
    return {what: values} if values else {}


def _format_settings(values: dict[str, Any]) -> str:
    """`digits, digits_reserve: 0.1`: datasets with their values, those of one value together."""
    alike: dict[str, list[str]] = {}
    for dataset, value in values.items():
        alike.setdefault(spell(value), []).append(dataset)
    return "; ".join(f"{join_names(datasets)}: {value}" for value, datasets in alike.items())


def describe_type(field: Field) -> str:
    """What a value may be, with the kind of methods whose names they are."""
    return f"{field}, one of the {field.names}" if field.names else str(field)


def spell(value: Any) -> str:
    """A value as a study's file has it: a text in quotes where YAML would take it for something else."""
    if isinstance(value, str):
        return yaml.safe_dump(value, width=float("inf"), allow_unicode=True).splitlines()[0]
    return format_value(value)


def _wrap(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _indent(lines: Sequence[str], by: int = 2) -> list[str]:
    return [" " * by + line if line else "" for line in lines]
