"""The studies that can be run, what is said of them before a run, and of what did not get done after it."""

import functools
import time

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent
from workflow_scripts.common import messages

STARTED = time.time()


def missing_behind(cells):
    """What is not on disk, and not made yet, of the pictures, records, data and weights behind these cells: a line each."""
    for cell in cells:
        if (missing := missing_sources(cell.dataset, cell.attack)) and not exists(attackers_file(cell, "poison.parquet").path):
            yield missing
    first = {cell._replace(seed=""): cell for cell in cells}    # neither data nor others' weights hang on the seed
    for file in artifacts_behind(first.values()).values():
        if file.step == "prepare_data" and not exists(file.path):
            yield loader(file.wildcards).missing()
        if file.step == "train_auxiliary" and not exists(file.path):
            yield _folders.find_missing(*described(file.step, file.wildcards))


@functools.cache
def missing_sources(dataset, attack):
    """What is not on disk of the pictures and the records that an attack reads on this dataset."""
    fields = spellings.resolve("attacks", attack, CONFIG.settings_of(dataset))
    traits = catalog.describe("attacks", spellings.method_name(attack)).traits
    return _user_files.find_missing(traits, fields)


@functools.cache
def read_studies():
    """The studies that are asked for, by name, and why others are left out. Each job parses this file: those that ask
    for no study do not read them, and what there was when the run began is not looked for again."""
    try:
        asking = studies.read(CONFIG)
    except UserError as error:
        raise WorkflowError(f"backstop: {error}") from None
    return find_available(asking) if workflow.is_main_process else (Known(asking.studies), {})


def find_available(asking):
    """The studies whose data, pictures and weights there are, and why the others are left out. WorkflowError where one
    was asked for by its name, or where none is left."""
    there, left_out = Known(), dict(asking.left_out)
    for name, study in asking.studies.items():
        if missing := next(filter(None, missing_behind(study.cells)), ""):
            left_out[name] = f"{name}: {missing}"
            if name in asking.by_name:
                raise WorkflowError(f"backstop: {left_out[name]}")
        else:
            there[name] = study
    if not there:
        raise WorkflowError("backstop: no study is left; " + "; ".join(messages.group_left_out(left_out)))
    return there, left_out


class Known(dict):
    """What belongs to the studies that are asked for, by name."""
    def __missing__(self, name):
        raise WorkflowError(f"backstop: {name} is of no study that is asked for; say which: --config 'studies=[NAME]'")


def all_studies():
    """The studies, by name."""
    return read_studies()[0]


@functools.cache
def cells_of(study):
    """The cells of a study, and those that they are read against."""
    return studies.add_implied_cells(all_studies()[study].cells)


def unfinished():
    """The jobs that this run has not done."""
    for job in workflow.dag.needrun_jobs():
        costs = next((path for path in job.output if path.endswith("/costs.json")), "")
        yield messages.Work(job.rule.name, costs, next(iter(job.log), ""))


def say(lines):
    for line in lines:
        logger.info(f"backstop: {line}")


def count_cells(study):
    """The cells of a study that are to be shown: its own, the others, and those that wait."""
    shown, own = cells_shown(study), set(all_studies()[study].cells)
    asked = sum(cell in own for cell in shown)
    return messages.Cells(asked, len(shown) - asked, sum(not exists(metrics_of(cell)) for cell in shown))


@functools.cache
def tell_outlook():
    """Says, once, how much there is to do."""
    cells = {name: count_cells(name) for name in all_studies()}
    workers = workflow.cores or workflow.nodes or 1
    say(messages.describe_outlook(list(unfinished()), cells, ROOT, min(workers, GPU_PLACES or workers)))


def tell_more(record):
    """Filter: says of a cluster's job that failed what Snakemake, quiet about rules, keeps to itself, and of a dry run,
    which calls no handler, how much there is to do."""
    say(messages.describe_error(vars(record)))
    if workflow.dryrun and vars(record).get("event") == LogEvent.RUN_INFO:
        tell_outlook()
    return True


if workflow.is_main_process:
    logger.addFilter(tell_more)


onstart:
    if workflow.touch and not exists(ROOT):
        raise WorkflowError(f"backstop: {ROOT} is not there: nothing can be taken as up to date; `dvc pull` brings it")
    tell_outlook()


onsuccess:
    shown = [study for name, study in all_studies().items() if exists(f"results/metrics/{name}.parquet")]    # not of a batch
    say(messages.describe_results(shown))
    say(messages.describe_left_out(read_studies()[1]))


onerror:
    say(messages.describe_failures(unfinished(), STARTED))
    say(messages.describe_left_out(read_studies()[1]))


if workflow.is_main_process:
    say(messages.describe_left_out(read_studies()[1]))    # where there is nothing to do, no handler is called
