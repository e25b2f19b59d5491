# sspipe: how well can buildings be mapped from radar alone, by a network that saw optical images only in training?
#
# The rooms, in the order of the data; a rule file and the package of the same name in sspipe/ belong together.
from snakemake.utils import min_version

min_version("9.19")


configfile: "config.yaml"


include: "rules/common.smk"


rule all:
    input:
        f"{ROOT}/report/index.html",
        f"{ROOT}/report/catalog.html",
        runs(f"{ROOT}/score/{RUN}/solaris.json"),
        f"{ROOT}/report/comparisons.csv",
        runs(f"{ROOT}/train/{RUN}/model.stac.json"),
        maps_with_all(".footprints.gpkg"),
    localrule: True


include: "rules/targets.smk"
include: "rules/data.smk"
include: "rules/pack.smk"
include: "rules/train.smk"
include: "rules/predict.smk"
include: "rules/maps.smk"
include: "rules/score.smk"
include: "rules/report.smk"
