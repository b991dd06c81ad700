#!/bin/sh
# What the platforms' own steps come down to: `everproof run` with the words that STEP_* hold. Nothing here is expanded
# twice: a variable's text is a word, whatever stands in it.
set -eu
set -f

set -- --stage "${STEP_STAGE:?say which stage}"
[ -z "${STEP_ON:-}" ] || set -- "$@" --on "$STEP_ON"
[ -z "${STEP_LIFETIME:-}" ] || set -- "$@" --lifetime "$STEP_LIFETIME"
[ -z "${STEP_GRACE:-}" ] || set -- "$@" --grace "$STEP_GRACE"
[ -z "${STEP_TIMEOUT:-}" ] || set -- "$@" --timeout "$STEP_TIMEOUT"

newline='
'
IFS=$newline
for name in ${STEP_ENV:-}; do
  set -- "$@" "--env=$name"
done
unset IFS

# shellcheck disable=SC2086 # the shell and its options are words, and are ours
exec everproof run "$@" -- ${STEP_SHELL:-sh -eu} -c "${STEP_RUN:?say what to run}"
