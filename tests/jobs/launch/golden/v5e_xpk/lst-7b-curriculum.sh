#!/bin/sh
# lst train /data/runs/paper --config configs/lst.py:7b --processes 256 on 4 x v5e 16x16: 1024 devices
# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody
xpk workload create \
  --cluster=my-cluster \
  --project=my-project \
  --zone=us-west4-a \
  --workload=lst-7b-curriculum \
  --tpu-type=v5litepod-256 \
  --num-slices=4 \
  --docker-image=us-docker.pkg.dev/my-project/lst/lst-jax:1 \
  --spot \
  --max-restarts=50 \
  --termination-grace-period-seconds=120 \
  '--command=cd /app && exec lst train /data/runs/paper --config configs/lst.py:7b --processes 256'
