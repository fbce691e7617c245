#!/bin/sh
# lst train /data/runs/paper --config configs/lst.py:1b --processes 16 on 1 x tpu7x 4x4x4: 128 devices
# lst train itself compiles the step with: xla_enable_async_all_gather=true xla_tpu_enable_async_collective_fusion=true xla_tpu_enable_async_collective_fusion_fuse_all_gather=true xla_tpu_enable_async_collective_fusion_multiple_steps=true xla_tpu_overlap_compute_collective_tc=true
# LIBTPU_INIT_ARGS is left alone; a value for it goes into env of the cluster's description
# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody
xpk workload create \
  --cluster=my-cluster \
  --project=my-project \
  --zone=us-central1-c \
  --workload=lst-1b-curriculum \
  --tpu-type=tpu7x-4x4x4 \
  --num-slices=1 \
  --docker-image=us-docker.pkg.dev/my-project/lst/lst-jax:1 \
  --reservation=my-reservation \
  --no-use-parallel-containers \
  --priority=high \
  --ttl-seconds-after-finished=43200 \
  --max-restarts=50 \
  --termination-grace-period-seconds=300 \
  '--command=cd /app && exec lst train /data/runs/paper --config configs/lst.py:1b --processes 16'
