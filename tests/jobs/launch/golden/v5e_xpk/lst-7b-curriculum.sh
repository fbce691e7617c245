#!/bin/sh
# lst train /data/runs/paper --config configs/lst.py:7b --processes 256 on 4 x v5e 16x16: 1024 devices
# lst train itself compiles the step with: xla_enable_async_all_gather=true xla_tpu_enable_async_collective_fusion=true xla_tpu_enable_async_collective_fusion_fuse_all_gather=true xla_tpu_enable_async_collective_fusion_multiple_steps=true xla_tpu_overlap_compute_collective_tc=true
# LIBTPU_INIT_ARGS is left alone; a value for it goes into env of the cluster's description
# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody
xpk workload create \
  --cluster=my-cluster \
  --project=my-project \
  --zone=us-west4-a \
  --workload=lst-7b-curriculum \
  --tpu-type=v5litepod-16x16 \
  --num-slices=4 \
  --docker-image=us-docker.pkg.dev/my-project/lst/lst-jax:1 \
  --spot \
  --max-restarts=50 \
  --termination-grace-period-seconds=120 \
  '--command=cd /app && exec lst train /data/runs/paper --config configs/lst.py:7b --processes 256'
