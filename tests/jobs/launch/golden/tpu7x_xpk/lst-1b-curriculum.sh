#!/bin/sh
# lst train /data/runs/paper --config configs/lst.py:1b --processes 16 on 1 x tpu7x 4x4x4: 128 devices
# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody
xpk workload create \
  --cluster=my-cluster \
  --project=my-project \
  --zone=us-central1-c \
  --workload=lst-1b-curriculum \
  --tpu-type=tpu7x-128 \
  --num-slices=1 \
  --docker-image=us-docker.pkg.dev/my-project/lst/lst-jax:1 \
  --reservation=my-reservation \
  --max-restarts=50 \
  --termination-grace-period-seconds=300 \
  '--command=cd /app && exec lst train /data/runs/paper --config configs/lst.py:1b --processes 16'
