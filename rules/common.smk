"""Where each thing is kept that a method may ask for by name, and which step makes it of which wildcards."""

from os import environ

from snakemake.exceptions import WorkflowError
from snakemake.executors.touch import Executor as Touch
from workflow_scripts.common import catalog, config as configuration, spellings, studies
from workflow_scripts.common.arguments import STEPS
from workflow_scripts.common.documents import read_yaml
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.plan import Kept, Planner
from workflow_scripts.jobs import gpus

ROOT = "results/artifacts"
DATASET = ROOT + "/{dataset}"
ATTACK = DATASET + "/{attack}/ratio~{ratio}/seed~{seed}"
VICTIM = ATTACK + "/{model}"
DETECTOR = VICTIM + "/{detector}"
DEFENSE = VICTIM + "/{defense}"
AUXILIARY = DATASET + "/auxiliaries/{auxiliary}/seed~{seed}"
POISONED_AUXILIARY = ATTACK + "/auxiliaries/{auxiliary}"
LOGS = "results/logs"


def log_of(rule, folder):
    """Where a job says what it does: below its rule's name, as its artifacts lie below ROOT."""
    return folder.replace(ROOT, f"{LOGS}/{rule}") + ".log"


try:
    if workflow.is_main_process:
        if workflow.workflow_settings.cache and not environ.get("SNAKEMAKE_OUTPUT_CACHE"):
            raise UserError("the cache has no folder; name the one that clones share: SNAKEMAKE_OUTPUT_CACHE=FOLDER snakemake …")
        catalog.check_methods()
        for path in workflow.configfiles:
            read_yaml(path)    # Snakemake takes the last of two equal keys
    CONFIG = configuration.read(config, checked=not workflow.is_main_process)
except UserError as error:
    raise WorkflowError(f"backstop: {error}") from None

PLAN = Planner(CONFIG)
Touch.SLEEPING_TIME = 0    # `--touch` waits for a tenth of a second before each job: four minutes for 2,300
config["jobs_per_gpu"] = CONFIG.jobs_per_gpu    # scripts read it there
GPU_PLACES = gpus.count_places(CONFIG.jobs_per_gpu) if workflow.is_main_process and not workflow.nodes else 0
if GPU_PLACES:
    workflow.register_resource("gpu_place", GPU_PLACES)    # no more jobs at once than there are places


def attackers_file(w, file):
    """An attacker's file: beside the model where the attack controls its training."""
    step, folder = ("implant", VICTIM) if spellings.is_implant(w.attack) else ("poison", ATTACK)
    return Kept.of(step, f"{folder}/{file}", w)


def victim(w, **changed):
    """The victim of these wildcards but for what is changed."""
    step = "implant" if spellings.is_implant(changed.get("attack", w.attack)) else "train"
    return Kept.of(step, VICTIM + "/victim.safetensors", w, **changed)


CLEAN = {"attack": "none", "ratio": "0"}


def clean_victim(w, own):
    """The clean model, of the cell's architecture or of the one that a method names as its surrogate."""
    return victim(w, **CLEAN, model=own.get("surrogate") or w.model)


def retrained(w):
    """What ordinary training makes of the published images: of a data poison, the victim itself."""
    return Kept.of("train", VICTIM + "/retrained/victim.safetensors", w) if spellings.is_implant(w.attack) else victim(w)


def evaluated_model(w):
    """The model of a cell: what its defense saved, or the one that it stands for."""
    stands_for = catalog.describe("defenses", spellings.method_name(w.defense)).traits["stands_for"]
    return KEPT[stands_for](w, {})[0] if stands_for else Kept.of("defend", DEFENSE + "/model.safetensors", w)


def auxiliary(w, spelling, **changed):
    """An auxiliary of these wildcards but for what is changed: beside what the attacker published, if that is what it
    is trained on."""
    described = catalog.describe("auxiliaries", spellings.method_name(spelling))
    folder = POISONED_AUXILIARY if "poisoned_train" in described.asks else AUXILIARY
    seed = {"seed": "0"} if described.traits["seedless"] else {}
    return Kept.of("train_auxiliary", folder + "/model.safetensors", w, auxiliary=spelling, **seed, **changed)


KEPT = {  # an argument -> the files that it is read from, of the wildcards and the fields of the method that asks
    "train": lambda w, own: [Kept.of("prepare_data", DATASET + "/train.parquet", w)],
    "test": lambda w, own: [Kept.of("prepare_data", DATASET + "/test.parquet", w)],
    "holdout": lambda w, own: [Kept.of("draw_holdout", DATASET + "/holdout/seed~{seed}.parquet", w)],
    "poisoned_train": lambda w, own: [*KEPT["train"](w, own), attackers_file(w, "poison.parquet")],
    "truth": lambda w, own: [attackers_file(w, "truth.parquet")],
    "victim": lambda w, own: [victim(w)],
    "clean_victim": lambda w, own: [clean_victim(w, own)],
    "retrained": lambda w, own: [retrained(w)],
    "defended": lambda w, own: [evaluated_model(w)],
    "log": lambda w, own: [Kept.of("defend", DEFENSE + "/log.parquet", w)],
    "model": lambda w, own: KEPT["train"](w, own),    # an architecture is code; its shape is the images'
}
NAMED = {  # the same of what a field of the method names, by its kind
    "auxiliaries": auxiliary,
    "datasets": lambda w, name: Kept.of("prepare_data", DATASET + "/train.parquet", w, dataset=name),
    "detectors": lambda w, name: Kept.of("detect", DETECTOR + "/scores.parquet", w, detector=name),
}


def files_of(need, w):
    """The files of one argument of a job."""
    if need.kind:
        return [NAMED[need.kind](w, need.fields[need.name], **(CLEAN if need.clean else {}))]
    return KEPT[need.name](w, need.fields) if need.name in KEPT else []


def inputs_of(step):
    """Input function: the files of a job's arguments, by the name of the argument."""
    def files(w):
        found = {need.key: [file.path for file in files_of(need, w)] for need in PLAN.needs(step, w)}
        return {key: paths if len(paths) > 1 else paths[0] for key, paths in found.items() if paths}
    return files
