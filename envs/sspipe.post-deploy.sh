#!/usr/bin/env bash
# Snakemake runs this after it has made the conda environment of sspipe.yaml (see solaris.txt for the reason).
set -euo pipefail
pip install --no-deps solaris==0.4.0
