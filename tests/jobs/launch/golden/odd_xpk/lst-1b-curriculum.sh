#!/bin/sh
# lst train '/a folder/runs/it'"'"'s $(HOME) "a" `b`; \n' --config configs/lst.py:1b --processes 4 on 2 x v4 2x2x2: 16 devices
# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody
xpk workload create \
  --cluster=odd \
  --project=p \
  --zone=z \
  --workload=lst-1b-curriculum \
  --tpu-type=v4-16 \
  --num-slices=2 \
  --docker-image=image \
  --on-demand \
  --max-restarts=3 \
  --termination-grace-period-seconds=30 \
  '--command=cd '"'"'/a folder/$(pwd)'"'"'"'"'"'"'"'"'s'"'"' && exec env '"'"'QUOTED=it'"'"'"'"'"'"'"'"'s "$(HOME)" $HOME'"'"' EMPTY= TWO=a=b lst train '"'"'/a folder/runs/it'"'"'"'"'"'"'"'"'s $(HOME) "a" `b`; \n'"'"' --config configs/lst.py:1b --processes 4'
