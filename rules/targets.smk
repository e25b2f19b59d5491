# What people type besides `all`: snakemake --profile profiles/… TARGET
import re
import sys

from snakemake.exceptions import WorkflowError

from sspipe.validation import nearest


rule data:
    input:
        f"{ROOT}/catalog.json",
        f"{ROOT}/report/catalog.html",
        expand(f"{ROOT}/statistics/{{split}}.json", split=CONFIG.splits),
    localrule: True


rule train_all:
    input:
        runs(f"{ROOT}/train/{RUN}/model.safetensors"),
    localrule: True


rule score_all:
    input:
        runs(f"{ROOT}/score/{RUN}/scores.json"),
        runs(f"{ROOT}/score/{RUN}/solaris.json"),
        f"{ROOT}/report/comparisons.csv",
    localrule: True


rule maps:
    input:
        runs(f"{ROOT}/maps/{RUN}.tif"),
        runs(f"{ROOT}/maps/{RUN}.footprints.gpkg"),
        runs(f"{ROOT}/maps/{RUN}.looks.json"),
    localrule: True


rule report:
    input:
        f"{ROOT}/report/index.html",
        f"{ROOT}/report/comparisons.csv",
    localrule: True


# One target per variant, so that re-running one ablation is one word: variant_ss_rsc_shared
for name in CONFIG.variants:

    rule:
        name:
            f"variant_{name}"
        input:
            runs(f"{ROOT}/score/{RUN}/scores.json", name),
            runs(f"{ROOT}/score/{RUN}/solaris.json", name),
        localrule: True


# Snakemake would only say that no rule makes it.
for word in sys.argv[1:] if workflow.is_main_process else ():
    named = re.fullmatch(r"variant_(\w+)", word)
    if named and named[1] not in CONFIG.variants:
        raise WorkflowError(
            f"{word}: no variant `{named[1]}`{nearest(named[1], CONFIG.variants)}"
        )
