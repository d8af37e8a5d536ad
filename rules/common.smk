"""Where each thing is kept that a method may ask for by name."""

from snakemake.exceptions import WorkflowError
from workflow_scripts.common import catalog, config as configuration, studies
from workflow_scripts.common.errors import UserError

ROOT = "results/artifacts"
DATASET = ROOT + "/{dataset}"
ATTACK = DATASET + "/{attack}/ratio~{ratio}/seed~{seed}"
VICTIM = ATTACK + "/{model}"
DEFENSE = VICTIM + "/{defense}"
AUXILIARY = DATASET + "/auxiliaries/{auxiliary}/seed~{seed}"
POISONED_AUXILIARY = ATTACK + "/auxiliaries/{auxiliary}"

try:
    CONFIG = configuration.read(config)
    STUDIES = {study.name: study for study in studies.read(CONFIG)}
    CELLS = studies.needed(cell for study in STUDIES.values() for cell in study.cells)
    IMPLANTS = [name for name in catalog.names("attacks") if "model" in catalog.describe("attacks", name).asks]
except UserError as error:
    raise WorkflowError(f"backstop: {error}") from None


def spelled(names):
    """The spellings of these methods, as a regular expression."""
    return rf"({'|'.join(names)})(\+[a-z0-9_]+~[A-Za-z0-9_.-]+)*"


wildcard_constraints:
    dataset=r"[a-z0-9_]+", ratio=r"[0-9.e-]+", seed=r"\d+", study=r"[A-Za-z0-9_/-]+",
    model=spelled(catalog.names("models")), attack=spelled(catalog.names("attacks")),
    defense=spelled(catalog.names("defenses")), analysis=spelled(catalog.names("analyses")),
    figure=spelled(catalog.names("figures")), auxiliary=spelled(catalog.names("auxiliaries")),


def implanted(w):
    """Whether the attack controls the training of its victim."""
    return catalog.name(w.attack) in IMPLANTS


def attacked(w, file):
    """The attacker's files lie beside the model where the attack controls its training."""
    return f"{VICTIM if implanted(w) else ATTACK}/{file}"


def judged(w):
    """The model of a cell: what its defense saved, or the one that it stands for."""
    kept = catalog.describe("defenses", catalog.name(w.defense)).traits["stands_for"]
    return KEPT[kept](w, {}) if kept else f"{DEFENSE}/model.safetensors"


def auxiliary(w, spelling):
    """The folder of an auxiliary of this cell: beside what the attacker published, if that is what it is trained on."""
    described = catalog.describe("auxiliaries", catalog.name(spelling))
    folder = POISONED_AUXILIARY if "poisoned_train" in described.asks else AUXILIARY
    seed = "0" if described.traits["seedless"] else "{seed}"
    return folder.replace("{auxiliary}", spelling).replace("{seed}", seed)


KEPT = {  # a name in a signature -> its paths, from the wildcards and the method's own fields
    "train": lambda w, own: DATASET + "/train.parquet",
    "test": lambda w, own: DATASET + "/test.parquet",
    "holdout": lambda w, own: DATASET + "/holdout/seed~{seed}.parquet",
    "poisoned_train": lambda w, own: [DATASET + "/train.parquet", attacked(w, "poison.parquet")],
    "truth": lambda w, own: attacked(w, "truth.parquet"),
    "victim": lambda w, own: VICTIM + "/victim.safetensors",
    "clean_victim": lambda w, own: f"{DATASET}/none/ratio~0/seed~{{seed}}/{own.get('surrogate') or w.model}/victim.safetensors",
    "retrained": lambda w, own: VICTIM + ("/retrained" if implanted(w) else "") + "/victim.safetensors",
    "defended": lambda w, own: judged(w),
    "log": lambda w, own: DEFENSE + "/log.parquet",
    "model": lambda w, own: DATASET + "/train.parquet",    # an architecture is code; its shape is the images'
    "extractor": lambda w, own: auxiliary(w, own["extractor"]) + "/model.safetensors",
}


def asked(*axes):
    """Input function: the files that the signatures of these axes' methods name."""
    def files(w):
        found = {}
        for axis in axes:
            name, own = method(axis, w)
            wanted = catalog.describe(catalog.KIND_OF_AXIS[axis], name).asks
            found |= {key: filled(KEPT[key](w, own), w) for key in wanted if key in KEPT}
        return found
    return files


def filled(path, w):
    """A path, or a list of paths, of these wildcards."""
    return [filled(part, w) for part in path] if isinstance(path, list) else path.format(**dict(w.items()))
