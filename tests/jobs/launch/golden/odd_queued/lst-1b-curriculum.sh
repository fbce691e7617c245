#!/bin/sh
# lst train '/a folder/runs/it'"'"'s $(HOME) "a" `b`; \n' --config configs/lst.py:1b --processes 4 on 2 x v4 2x2x2: 16 devices
# lst train itself compiles the step with: xla_enable_async_all_gather=true xla_tpu_enable_async_collective_fusion=true xla_tpu_enable_async_collective_fusion_fuse_all_gather=true xla_tpu_enable_async_collective_fusion_multiple_steps=true xla_tpu_overlap_compute_collective_tc=true
# LIBTPU_INIT_ARGS is left alone; a value for it goes into env of the cluster's description
# sh lst-1b-curriculum.sh            asks for the machines, trains, and goes on after preemptions
# sh lst-1b-curriculum.sh COMMAND    one of them: create, state, train, delete
# shellcheck disable=SC2016 # a $ in a value is meant for the hosts, or for nobody
set -eu
NAME=lst-1b-curriculum
HOSTS=4
MAX_RESTARTS=3
RESTART_CODE=42
FIRST_SIGNAL_CODE=127
PAUSE=30

create() {
  gcloud compute tpus queued-resources create lst-1b-curriculum \
    --project=p \
    --zone=z \
    --type=v4 \
    --topology=2x2x2 \
    --runtime-version=tpu-ubuntu2204-base \
    --node-count=2 \
    --node-prefix=lst-1b-curriculum
}

state() {
  gcloud compute tpus queued-resources describe lst-1b-curriculum \
    --project=p \
    --zone=z \
    '--format=value(state.state)' 2>/dev/null || true # nothing where there is none
}

train() {
  gcloud compute tpus queued-resources ssh lst-1b-curriculum \
    --project=p \
    --zone=z \
    --node=all \
    --worker=all \
    --batch-size=all \
    '--command=(sh -c '"'"'echo '"'"'"'"'"'"'"'"'ready'"'"'"'"'"'"'"'"' "$(hostname)"'"'"' && cd '"'"'/a folder/$(pwd)'"'"'"'"'"'"'"'"'s'"'"' && exec flock --no-fork /tmp/lst-launch.lock env '"'"'QUOTED=it'"'"'"'"'"'"'"'"'s "$(HOME)" $HOME'"'"' EMPTY= TWO=a=b lst train '"'"'/a folder/runs/it'"'"'"'"'"'"'"'"'s $(HOME) "a" `b`; \n'"'"' --config configs/lst.py:1b --processes 4); printf '"'"'\nlst launch: exit code %s on %s\n'"'"' "$?" "$(hostname)"'
}

delete() {
  gcloud compute tpus queued-resources delete lst-1b-curriculum \
    --project=p \
    --zone=z \
    --force \
    --quiet
}

# Asks for the machines until they are there.
provision() {
  while :; do
    found=$(state)
    case $found in
      ACTIVE) return ;;
      '') echo "lst launch: asking for $NAME" && create ;;
      FAILED | SUSPENDED) echo "lst launch: $NAME is $found; asking anew" && delete ;;
      *) echo "lst launch: $NAME is $found; waiting" ;;
    esac
    sleep "$PAUSE"
  done
}

# Reads the exit code of every host from the log. Sets verdict: 0 = done, a code = a person must act, again = restart.
# A host that did not report was lost, and then the codes of the others only tell that they missed it.
judge() {
  hosts=0 verdict=0
  codes=$(sed -n 's/^lst launch: exit code \([0-9][0-9]*\).*$/\1/p' "$1")
  for code in $codes; do
    hosts=$((hosts + 1))
    if [ "$code" -eq "$RESTART_CODE" ] || [ "$code" -ge "$FIRST_SIGNAL_CODE" ]; then
      [ "$verdict" != 0 ] || verdict=again
    elif [ "$code" -ne 0 ]; then
      verdict=$code
    fi
  done
  if [ "$hosts" -lt "$HOSTS" ]; then
    verdict=again
  elif [ "$verdict" != 0 ] && [ "$(state)" != ACTIVE ]; then
    verdict=again
  fi
}

babysit() {
  restarts=0
  while :; do
    provision
    train 2>&1 | tee "$NAME-$restarts.log"
    judge "$NAME-$restarts.log"
    if [ "$verdict" != again ]; then
      echo "lst launch: $NAME ended with exit code $verdict; its machines are given back"
      delete
      exit "$verdict"
    fi
    if [ "$restarts" -ge "$MAX_RESTARTS" ]; then
      echo "lst launch: $NAME was restarted $restarts times; its machines are given back, start this again to go on"
      delete
      exit "$RESTART_CODE"
    fi
    restarts=$((restarts + 1))
    echo "lst launch: restart $restarts of $MAX_RESTARTS"
    sleep "$PAUSE"
  done
}

case ${1:-babysit} in
  babysit | create | state | train | delete) "${1:-babysit}" ;;
  *) echo "usage: sh $0 [babysit | create | state | train | delete]" >&2 && exit 2 ;;
esac
