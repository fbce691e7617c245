trap : TERM # srun's processes get the signal themselves; this shell outlives them to see how they ended
cd -- "$WORKDIR" || exit 2

# --wait: once a process has ended, the others have time to save, and are then ended: no node idles beside a dead one.
code=0
srun --kill-on-bad-exit=0 --wait="$GRACE" "$@" || code=$?

if [ "$code" -ne "$RESTART_CODE" ] && [ "$code" -lt "$FIRST_SIGNAL_CODE" ]; then
  exit "$code"
fi
if [ "${SLURM_RESTART_COUNT:-0}" -ge "$MAX_RESTARTS" ]; then
  echo "lst launch: exit code $code after $MAX_RESTARTS restarts; sbatch this file again to go on" >&2
  exit "$code"
fi
echo "lst launch: exit code $code, requeued" >&2
scontrol requeue "$SLURM_JOB_ID"
