"""What each artifact is made by: a rule's parameter, in the metadata of what it makes, and in `collect`."""

from workflow_scripts.attacks import _user_files
from workflow_scripts.auxiliaries import _folders
from workflow_scripts.common import files, fingerprint, sources


def spelling_pattern(kind, chosen=lambda name: True):
    """The spellings of a kind's methods, as a regular expression."""
    names = "|".join(filter(chosen, catalog.list_methods(kind)))
    return spellings.SPELLING.replace("[a-z0-9_]+", f"({names})", 1)


wildcard_constraints:
    dataset=r"[a-z0-9_]+", ratio=r"[0-9.e-]+", seed=r"\d+", study=r"[A-Za-z0-9_/-]+", table=r"[A-Za-z0-9_/-]+",
    figure=spelling_pattern("figures"),
    **{axis: spelling_pattern(kind) for axis, kind in catalog.KIND_OF_AXIS.items() if axis != "dataset"},


def loader(w):
    """The loader of a dataset, with its fields."""
    return catalog.make("datasets", *CONFIG.loader(w.dataset))


def described(step, w):
    """The traits and the fields of a job's method."""
    name, fields = PLAN.method(axis := STEPS[step].axis, w)
    return catalog.describe(catalog.KIND_OF_AXIS[axis], name).traits, fields


READS = {  # a step -> what it reads that no job makes: raw images, pictures, records, the weights of others; and what it makes of it
    "prepare_data": (lambda w: loader(w).sources(), DATASET + "/train.parquet"),
    "poison": (lambda w: _user_files.find_sources(*described("poison", w)), ATTACK + "/poison.parquet"),
    "implant": (lambda w: _user_files.find_sources(*described("implant", w)), VICTIM + "/poison.parquet"),
    "train_auxiliary": (lambda w: _folders.find_sources(*described("train_auxiliary", w)), AUXILIARY + "/model.safetensors"),
}


def made_by(step, w):
    """What an artifact of a job is made by."""
    find, artifact = READS.get(step, (lambda w: (), ""))
    given = find(w)
    return PLAN.made(step, w) | ({files.SOURCES: sources.agree(given, artifact.format(**dict(w.items())))} if given else {})


def made(step):
    """Parameter: the same. (Of one that looked at `output`, Snakemake would not see a change.)"""
    return lambda w: made_by(step, w)


def growing_resources(megabytes, minutes):
    """Resources that grow with the attempt; the minutes may be a function of the wildcards."""
    of_job = minutes if callable(minutes) else lambda w: minutes
    return {"mem_mb": lambda w, attempt: megabytes * attempt, "runtime": lambda w, attempt: of_job(w) * attempt}


def metrics_file(cell):
    """The rows of a cell."""
    return Kept.of("evaluate", DEFENSE + "/metrics.json", cell)


def files_behind(files, but=()):
    """Every artifact behind these, themselves among them, by its path, with the step and the wildcards that it is made
    of, but for what steps of these names alone ask for."""
    found, todo = {}, list(files)
    while todo:
        if (file := todo.pop()).path not in found:
            found[file.path] = file
            asked = PLAN.needs(file.step, file.wildcards) if file.step not in but else ()
            todo += [part for need in asked for part in files_of(need, file.wildcards)]
    return found


def artifacts_behind(cells):
    """Every artifact behind these cells."""
    return files_behind(map(metrics_file, cells))


def provenance(cells):
    """What every artifact behind these cells must have been made by, by its path below ROOT."""
    return {path.removeprefix(f"{ROOT}/"): files.hash_provenance(made_by(file.step, file.wildcards))
            for path, file in artifacts_behind(cells).items()}
