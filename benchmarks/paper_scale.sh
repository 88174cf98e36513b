#!/bin/sh
# The papers' own protocols where a CPU is too slow: LeNet on MNIST and Conv-2/4/6 on CIFAR-10 (Frankle & Carbin 2019),
# ResNet-20 and VGG-16 on CIFAR-10, each with the standard rate, a low one and warm-up (Frankle et al. 2020); the fully connected
# network on MNIST, and VGG-16, ResNet-18 and ResNet-50 on CIFAR-10 (Zhang et al. 2019); LeNet on MNIST and Conv-2/4/6 on CIFAR-10
# (Zhou et al. 2019).
#
#     sh benchmarks/paper_scale.sh DATA_DIR OUTPUT_DIR [SCALE] [more options of `tombola run`]
#
# Meant for a GPU; SCALE (paper) may be smoke or small, to try it. Stop it whenever you like: the same command goes on.
set -eu
data=${1:?folder of MNIST and CIFAR-10} output=${2:?folder for the reports} scale=${3:-paper}
shift 2
[ $# -gt 0 ] && shift
run() {
    study=$1 task=$2
    shift 2
    tombola run "$study" --task "$task" --scale "$scale" --data-dir "$data" --store "$output/runs" --output "$output/$study/$task" "$@"
}
run frankle2019.sparsity lenet-mnist "$@"
for network in conv2 conv4 conv6; do
    run frankle2019.conv "$network-cifar10" "$@"
done
for network in resnet20 vgg16; do
    for recipe in "" -low -warmup; do
        for study in instability sparse ranges; do
            run "frankle2020.$study" "$network-cifar10$recipe" "$@"
        done
    done
done
for study in robustness capacity joint frozen removed tickets criticality; do
    run "zhang2019.$study" fcn-mnist "$@"
done
for network in vgg16 resnet18 resnet50; do
    for study in robustness blocks joint; do
        run "zhang2019.$study" "$network-cifar10-zhang" "$@"
    done
done
for network in vgg16 resnet18; do
    run zhang2019.removed "$network-cifar10-zhang" "$@"
done
for task in lenet-mnist conv2-cifar10 conv4-cifar10 conv6-cifar10; do
    for study in supermask trained criteria mask1 mask0 compression; do
        run "zhou2019.$study" "$task" "$@"
    done
done
run zhou2019.signs lenet-mnist "$@"
