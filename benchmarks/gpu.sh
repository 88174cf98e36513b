#!/bin/sh
# Is training on this machine's GPU right, how fast is it, and do claims move in TF32? Under 8 minutes on one GPU; the numbers go
# to gpu.json and precision.json in OUTPUT_DIR.
#
#     sh benchmarks/gpu.sh OUTPUT_DIR [DATA_DIR] [--smoke]
#
# With DATA_DIR, the folder of MNIST, the lottery-ticket figure follows (Frankle & Carbin 2019, figure 3: 5 trials, 21
# levels, the ticket and its controls, 50,000 iterations), timed; the same command goes on where it was stopped.
# PYTHON is the Python that has JAX with its CUDA plugin (default python3).
set -eu
output=${1:?folder for the results}
shift
data= smoke=
for word in "$@"; do
    case $word in
        --smoke) smoke=--smoke ;;
        -*) echo "gpu.sh: unknown option $word; --smoke is the only one" >&2; exit 2 ;;
        *) data=$word ;;
    esac
done
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/../src:$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$output"
"${PYTHON:-python3}" "$here/gpu.py" --output "$output/gpu.json" $smoke
scale=paper precision="--scale small"
[ -z "$smoke" ] || scale=smoke precision="--scale smoke --task digits-mlp"
"${PYTHON:-python3}" "$here/precision.py" --output "$output/precision.json" $precision || { [ $? -eq 3 ] && echo "the verdicts above have moved"; }
[ -n "$data" ] || exit 0
began=$(date +%s)
"${PYTHON:-python3}" -m tombola run frankle2019.sparsity --task lenet-mnist --scale "$scale" --data-dir "$data" --store "$output/runs" --output "$output/figure"
echo "the figure took $(($(date +%s) - began)) s"
