"""What each artifact is made by: a rule's parameter, in the metadata of what it makes, and in `collect`."""

from workflow_scripts.common import files, fingerprint


def spelling_pattern(kind, chosen=lambda name: True):
    """The spellings of a kind's methods, as a regular expression."""
    names = "|".join(filter(chosen, catalog.list_methods(kind)))
    return catalog.SPELLING.replace("[a-z0-9_]+", f"({names})", 1)


wildcard_constraints:
    dataset=r"[a-z0-9_]+", ratio=r"[0-9.e-]+", seed=r"\d+", study=r"[A-Za-z0-9_/-]+", table=r"[A-Za-z0-9_/-]+",
    figure=spelling_pattern("figures"),
    **{axis: spelling_pattern(kind) for axis, kind in catalog.KIND_OF_AXIS.items() if axis != "dataset"},


def made(step):
    """Parameter: what the job is made by."""
    return lambda w: PLAN.made(step, w)


def growing_resources(megabytes, minutes):
    """Resources that grow with the attempt; the minutes may be a function of the wildcards."""
    of_job = minutes if callable(minutes) else lambda w: minutes
    return {"mem_mb": lambda w, attempt: megabytes * attempt, "runtime": lambda w, attempt: of_job(w) * attempt}


def artifacts_behind(cells):
    """Every artifact behind these cells, by its path, with the step and the wildcards that it is made of."""
    found = {}
    todo = [Kept.of("evaluate", DEFENSE + "/metrics.json", cell) for cell in cells]
    while todo:
        if (file := todo.pop()).path not in found:
            found[file.path] = file
            todo += [part for need in PLAN.needs(file.step, file.wildcards) for part in files_of(need, file.wildcards)]
    return found


def provenance(cells):
    """What every artifact behind these cells must have been made by, by its path below ROOT."""
    return {path.removeprefix(f"{ROOT}/"): files.hash_provenance(PLAN.made(file.step, file.wildcards))
            for path, file in artifacts_behind(cells).items()}
