# The SpaceNet metric by our own matcher, and by solaris itself.


rule score_polygons:
    input:
        submission=f"{ROOT}/predict/{RUN}/submission.csv",
        probabilities=f"{ROOT}/predict/{RUN}/probabilities.npy",
        catalog=f"{ROOT}/catalog.parquet",
        footprints=f"{ROOT}/footprints.parquet",
        packs=manifests(),
    output:
        scores=f"{ROOT}/score/{RUN}/scores.json",
        tiles=f"{ROOT}/score/{RUN}/tiles.parquet",
        buildings=f"{ROOT}/score/{RUN}/buildings.parquet",
        reliability=f"{ROOT}/score/{RUN}/reliability.csv",
    log:
        f"{ROOT}/logs/score_polygons/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/score_polygons/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        truth=TRUTH,
        interior_threshold=CONFIG.polygons.interior_threshold,
        iou_threshold=CONFIG.score.iou_threshold,
        min_area_px=CONFIG.score.min_area_px,
        boundary_px=CONFIG.score.boundary_px,
        area_edges_m2=list(CONFIG.score.area_edges_m2),
        height_edges_m=list(CONFIG.score.height_edges_m),
        bootstrap_samples=CONFIG.score.bootstrap_samples,
        block=block_flag,
    shell:
        "python -m sspipe score-polygons --submission {input.submission:q} --truth {params.truth:q}"
        " --catalog {input.catalog:q} --footprints {input.footprints:q} --probabilities {input.probabilities:q}"
        " --packs {input.packs:q} --interior-threshold {params.interior_threshold} --iou-threshold {params.iou_threshold}"
        " --min-area-px {params.min_area_px} --boundary-px {params.boundary_px}"
        " --area-edges-m2 {params.area_edges_m2} --height-edges-m {params.height_edges_m}"
        " --bootstrap-samples {params.bootstrap_samples} {params.block}"
        " --out-scores {output.scores:q} --out-tiles {output.tiles:q} --out-buildings {output.buildings:q}"
        " --out-reliability {output.reliability:q} > {log:q} 2>&1"


rule check_against_solaris:
    input:
        submission=f"{ROOT}/predict/{RUN}/submission.csv",
        probabilities=f"{ROOT}/predict/{RUN}/probabilities.npy",
        scores=f"{ROOT}/score/{RUN}/scores.json",
        tiles=f"{ROOT}/score/{RUN}/tiles.parquet",
    output:
        f"{ROOT}/score/{RUN}/solaris.json",
    log:
        f"{ROOT}/logs/check_against_solaris/{RUN}.log",
    benchmark:
        f"{ROOT}/benchmarks/check_against_solaris/{RUN}.tsv"
    conda:
        "../envs/sspipe.yaml"
    params:
        truth=TRUTH,
        iou_threshold=CONFIG.score.iou_threshold,
        min_area_px=CONFIG.score.min_area_px,
    shell:
        "python -m sspipe check-against-solaris --submission {input.submission:q} --truth {params.truth:q}"
        " --probabilities {input.probabilities:q} --scores {input.scores:q} --tiles {input.tiles:q}"
        " --iou-threshold {params.iou_threshold} --min-area-px {params.min_area_px} --out {output:q} > {log:q} 2>&1"


rule compare_scores:
    input:
        scores=runs(f"{ROOT}/score/{RUN}/scores.json"),
    output:
        comparisons=report(
            f"{ROOT}/report/comparisons.csv",
            caption="captions/comparisons.rst",
            category="Comparison",
            labels={"what": "every variant against the baseline, paired"},
        ),
        seeds=report(
            f"{ROOT}/report/seeds.csv",
            caption="captions/seeds.rst",
            category="Comparison",
            labels={"what": "mean and spread over seeds"},
        ),
        statements=f"{ROOT}/report/comparisons.json",
    log:
        f"{ROOT}/logs/compare_scores.log",
    benchmark:
        f"{ROOT}/benchmarks/compare_scores.tsv"
    localrule: True  # seconds
    conda:
        "../envs/sspipe.yaml"
    params:
        baseline=CONFIG.score.baseline,
        bootstrap_samples=CONFIG.score.bootstrap_samples,
    shell:
        "python -m sspipe compare-scores --scores {input.scores:q} --baseline {params.baseline}"
        " --bootstrap-samples {params.bootstrap_samples} --out-comparisons {output.comparisons:q}"
        " --out-seeds {output.seeds:q} --out-statements {output.statements:q} > {log:q} 2>&1"
