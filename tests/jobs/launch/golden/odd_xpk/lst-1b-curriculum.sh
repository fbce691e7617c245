#!/bin/sh
# lst train '/a folder/runs/it'"'"'s $(HOME) "a" `b`; \n' --config configs/lst.py:1b --processes 4 on 2 x v4 2x2x2: 16 devices
# lst train itself compiles the step with: xla_enable_async_all_gather=true xla_tpu_enable_async_collective_fusion=true xla_tpu_enable_async_collective_fusion_fuse_all_gather=true xla_tpu_enable_async_collective_fusion_multiple_steps=true xla_tpu_overlap_compute_collective_tc=true
# LIBTPU_INIT_ARGS is left alone; a value for it goes into env of the cluster's description
# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody
xpk workload create \
  --cluster=odd \
  --project=p \
  --zone=z \
  --workload=lst-1b-curriculum \
  --tpu-type=v4-2x2x2 \
  --num-slices=2 \
  --docker-image=image \
  --on-demand \
  --max-restarts=3 \
  --termination-grace-period-seconds=30 \
  '--command=cd '"'"'/a folder/$(pwd)'"'"'"'"'"'"'"'"'s'"'"' && exec env '"'"'QUOTED=it'"'"'"'"'"'"'"'"'s "$(HOME)" $HOME'"'"' EMPTY= TWO=a=b lst train '"'"'/a folder/runs/it'"'"'"'"'"'"'"'"'s $(HOME) "a" `b`; \n'"'"' --config configs/lst.py:1b --processes 4'
