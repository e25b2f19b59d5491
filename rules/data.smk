# The archive, its tiles, and the splits.

if CONFIG.archive.source == "synthetic":

    rule synthesize_archive:
        output:
            f"{ROOT}/archive.tar.gz",
        log:
            f"{ROOT}/logs/synthesize_archive.log",
        benchmark:
            f"{ROOT}/benchmarks/synthesize_archive.tsv"
        conda:
            "../envs/sspipe.yaml"
        params:
            tile_size_px=CONFIG.tiles.size_px,
            pixel_m=CONFIG.tiles.pixel_m,
            strips=CONFIG.archive.synthetic.strips,
            tiles_per_strip=CONFIG.archive.synthetic.tiles_per_strip,
            seed=CONFIG.archive.synthetic.seed,
        shell:
            "python -m sspipe synthesize-archive --tile-size {params.tile_size_px} --pixel-m {params.pixel_m}"
            " --strips {params.strips} --tiles-per-strip {params.tiles_per_strip} --seed {params.seed}"
            " --out {output:q} > {log:q} 2>&1"

elif not OWN:

    rule fetch_archive:
        output:
            f"{ROOT}/archive.tar.gz",
        log:
            f"{ROOT}/logs/fetch_archive.log",
        benchmark:
            f"{ROOT}/benchmarks/fetch_archive.tsv"
        localrule: True  # compute nodes have no internet
        conda:
            "../envs/sspipe.yaml"
        resources:
            transfer=transfer_flags(),
        params:
            flags=archive_flags,
        shell:
            "python -m sspipe fetch-archive {params.flags} {resources.transfer} --out {output:q} > {log:q} 2>&1"


if OWN:

    rule gather_tiles:
        input:
            table=str(CONFIG.archive.path),
            files=lambda wildcards: own_data.named_files(CONFIG.archive.path),
        output:
            f"{ROOT}/raw.json",
        log:
            f"{ROOT}/logs/gather_tiles.log",
        benchmark:
            f"{ROOT}/benchmarks/gather_tiles.tsv"
        conda:
            "../envs/sspipe.yaml"
        params:
            raw=subpath(output[0], strip_suffix=".json"),
            form=form_flags,
        shell:
            "python -m sspipe gather-tiles --table {input.table:q} {params.form} --out {params.raw:q} --manifest {output:q}"
            " > {log:q} 2>&1"

else:

    rule unpack_archive:
        input:
            f"{ROOT}/archive.tar.gz",
        output:
            f"{ROOT}/raw.json",
        log:
            f"{ROOT}/logs/unpack_archive.log",
        benchmark:
            f"{ROOT}/benchmarks/unpack_archive.tsv"
        conda:
            "../envs/sspipe.yaml"
        params:
            raw=subpath(output[0], strip_suffix=".json"),
        shell:
            "python -m sspipe unpack-archive --archive {input:q} --out {params.raw:q} --manifest {output:q} > {log:q} 2>&1"


rule index_tiles:
    input:
        raw=f"{ROOT}/raw.json",
    output:
        catalog=f"{ROOT}/catalog.parquet",
        footprints=f"{ROOT}/footprints.parquet",
        report=f"{ROOT}/catalog.json",
    log:
        f"{ROOT}/logs/index_tiles.log",
    benchmark:
        f"{ROOT}/benchmarks/index_tiles.tsv"
    conda:
        "../envs/sspipe.yaml"
    threads: 8
    params:
        raw=subpath(input.raw, strip_suffix=".json"),
        layout="table" if OWN else "spacenet6",
        form=form_flags,
        max_left_out=CONFIG.tiles.max_left_out,
    shell:
        "python -m sspipe index-tiles --raw {params.raw:q} --layout {params.layout} {params.form}"
        " --max-left-out {params.max_left_out} --processes {threads} --out-catalog {output.catalog:q}"
        " --out-footprints {output.footprints:q} --out-report {output.report:q} > {log:q} 2>&1"


rule assign_splits:
    input:
        f"{ROOT}/catalog.parquet",
    output:
        table=f"{ROOT}/splits/{{split}}.parquet",
        leakage=f"{ROOT}/splits/{{split}}.leakage.json",
    log:
        f"{ROOT}/logs/assign_splits/{{split}}.log",
    benchmark:
        f"{ROOT}/benchmarks/assign_splits/{{split}}.tsv"
    localrule: True  # seconds
    conda:
        "../envs/sspipe.yaml"
    params:
        flags=split_flags,
    shell:
        "python -m sspipe assign-splits --catalog {input:q} --split {wildcards.split} {params.flags}"
        " --out-split {output.table:q} --out-leakage {output.leakage:q} > {log:q} 2>&1"
