# The data, and all runs side by side.


rule describe_tiles:
    input:
        catalog=f"{ROOT}/catalog.parquet",
        catalog_report=f"{ROOT}/catalog.json",
        footprints=f"{ROOT}/footprints.parquet",
        raw=f"{ROOT}/raw.json",
    output:
        report(
            f"{ROOT}/report/catalog.html",
            caption="captions/tiles.rst",
            category="Data",
            labels={"what": "the tiles, one page"},
        ),
    log:
        f"{ROOT}/logs/describe_tiles.log",
    benchmark:
        f"{ROOT}/benchmarks/describe_tiles.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        title=lambda wildcards: CONFIG.report.title,
        min_area_px=CONFIG.score.min_area_px,
        source=CONFIG.archive.source,
    shell:
        "python -m sspipe describe-tiles --catalog {input.catalog:q} --catalog-report {input.catalog_report:q}"
        " --footprints {input.footprints:q} --manifest {input.raw:q} --title {params.title:q}"
        " --min-area-px {params.min_area_px} --source {params.source} --out {output:q} > {log:q} 2>&1"


rule collect_scores:
    input:
        scores=runs(f"{ROOT}/score/{RUN}/scores.json"),
        trains=runs(f"{ROOT}/train/{RUN}/train.json"),
    output:
        report(
            f"{ROOT}/report/scores.csv",
            caption="captions/scores.rst",
            category="Comparison",
            labels={"what": "scores of every run"},
        ),
    log:
        f"{ROOT}/logs/collect_scores.log",
    benchmark:
        f"{ROOT}/benchmarks/collect_scores.tsv"
    localrule: True  # seconds
    conda:
        "../envs/sspipe.yaml"
    shell:
        "python -m sspipe collect-scores --scores {input.scores:q} --trains {input.trains:q} --out {output:q}"
        " > {log:q} 2>&1"


# As a file: with many variants it is longer than what a shell takes on a command line.
rule resolve_experiment:
    output:
        f"{ROOT}/experiment.json",
    log:
        f"{ROOT}/logs/resolve_experiment.log",
    benchmark:
        f"{ROOT}/benchmarks/resolve_experiment.tsv"
    localrule: True  # at once
    params:
        # A function, because Snakemake takes braces in plain text for wildcards.
        settings=lambda wildcards: CONFIG.model_dump_json(indent=2),
    run:
        Path(output[0]).write_text(params.settings)
        Path(log[0]).write_text(f"the resolved configuration -> {output[0]}\n")


# All in one job, as it takes seconds. They lie in the trainings' folders, and no training depends on them.
rule describe_models:
    input:
        trains=runs(f"{ROOT}/train/{RUN}/train.json"),
        models=runs(f"{ROOT}/train/{RUN}/model.safetensors"),
        scores=runs(f"{ROOT}/score/{RUN}/scores.json"),
        tunings=runs(f"{ROOT}/predict/{RUN}/polygons.json"),
        leakages=expand(f"{ROOT}/splits/{{split}}.leakage.json", split=CONFIG.splits),
        splits=expand(f"{ROOT}/splits/{{split}}.parquet", split=CONFIG.splits),
        statistics=expand(f"{ROOT}/statistics/{{split}}.json", split=CONFIG.splits),
        catalog=f"{ROOT}/catalog.parquet",
        settings=f"{ROOT}/experiment.json",
    output:
        runs(f"{ROOT}/train/{RUN}/README.md"),
        runs(f"{ROOT}/train/{RUN}/model.stac.json"),
    log:
        f"{ROOT}/logs/describe_models.log",
    benchmark:
        f"{ROOT}/benchmarks/describe_models.tsv"
    localrule: True  # seconds
    conda:
        "../envs/sspipe.yaml"
    params:
        root=subpath(input.catalog, parent=True),
        runs=runs(RUN),
    shell:
        "python -m sspipe describe-models --root {params.root:q} --runs {params.runs}"
        " --leakages {input.leakages:q} --splits {input.splits:q} --statistics {input.statistics:q}"
        " --catalog {input.catalog:q} --settings {input.settings:q} > {log:q} 2>&1"


# Of Slurm's accounting, where trainings ran on it, and of Snakemake's own measurements.
rule measure_efficiency:
    input:
        trains=runs(f"{ROOT}/train/{RUN}/train.json"),
        scores=runs(f"{ROOT}/score/{RUN}/scores.json"),
    output:
        report(
            f"{ROOT}/report/efficiency.csv",
            caption="captions/efficiency.rst",
            category="Operation",
            labels={"what": "what was asked for and what was used"},
        ),
    log:
        f"{ROOT}/logs/measure_efficiency.log",
    benchmark:
        f"{ROOT}/benchmarks/measure_efficiency.tsv"
    localrule: True  # the accounting may not be reached from a node
    conda:
        "../envs/sspipe.yaml"
    params:
        folder=subpath(output[0], ancestor=2),
    shell:
        "python -m sspipe efficiency --folder {params.folder:q} --out {output:q} > {log:q} 2>&1"


rule compare_variants:
    input:
        table=f"{ROOT}/report/scores.csv",
        comparisons=f"{ROOT}/report/comparisons.json",
        trains=runs(f"{ROOT}/train/{RUN}/train.json"),
        scores=runs(f"{ROOT}/score/{RUN}/scores.json"),
        checks=runs(f"{ROOT}/score/{RUN}/solaris.json"),
        reliability=runs(f"{ROOT}/score/{RUN}/reliability.csv"),  # beside scores.json
        polygons=runs(f"{ROOT}/predict/{RUN}/polygons.parquet"),
        looks=maps_with_all(".looks.json"),
        tunings=runs(f"{ROOT}/predict/{RUN}/polygons.json"),
        cards=runs(f"{ROOT}/train/{RUN}/README.md"),  # which the page links to
        efficiency=f"{ROOT}/report/efficiency.csv",
        leakages=expand(f"{ROOT}/splits/{{split}}.leakage.json", split=CONFIG.splits),
        splits=expand(f"{ROOT}/splits/{{split}}.parquet", split=CONFIG.splits),
        catalog=f"{ROOT}/catalog.parquet",
        catalog_report=f"{ROOT}/catalog.json",
        raw=f"{ROOT}/raw.json",
        settings=f"{ROOT}/experiment.json",
    output:
        page=report(
            f"{ROOT}/report/index.html",
            caption="captions/page.rst",
            category="Comparison",
            labels={"what": "the whole report, one page"},
        ),
        figures=report(
            directory(f"{ROOT}/report/figures"),
            patterns=["{figure}.svg", "{panel}.png"],
            caption="captions/figure.rst",
            category="Figures",
            labels=figure_labels,
        ),
    log:
        f"{ROOT}/logs/compare_variants.log",
    benchmark:
        f"{ROOT}/benchmarks/compare_variants.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        raw=subpath(input.raw, strip_suffix=".json"),
        truth=TRUTH,
        root=subpath(input.catalog, parent=True),
        runs=runs(RUN),
        # A function, because Snakemake takes braces in plain text for wildcards.
        title=lambda wildcards: CONFIG.report.title,
        panels=CONFIG.report.panels,
        maps=lambda wildcards, input: "--maps" if input.looks else "",
        synthetic="--synthetic" if CONFIG.archive.source == "synthetic" else "",
    shell:
        "python -m sspipe compare-variants --root {params.root:q} --runs {params.runs}"
        " --scores-csv {input.table:q} --leakages {input.leakages:q} --comparisons {input.comparisons:q}"
        " --efficiency {input.efficiency:q} --splits {input.splits:q} --catalog {input.catalog:q}"
        " --catalog-report {input.catalog_report:q} --raw {params.raw:q} --manifest {input.raw:q}"
        " --truth {params.truth:q} --settings {input.settings:q} --title {params.title:q}"
        " --panels {params.panels} {params.maps} {params.synthetic}"
        " --out {output.page:q} --out-figures {output.figures:q}"
        " > {log:q} 2>&1"
