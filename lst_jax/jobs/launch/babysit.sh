
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
