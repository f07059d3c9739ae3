#!/bin/sh
# Store the results of a CI job as a package, and print the package's id.
#
#   push-results.sh DIR NAME [TAG [OPTION...]]
#
# DIR has the results. Without any, the script says so and exits 0, so that a job without results does not fail here.
# TAG then names the new package; give '' for none. The OPTIONs are those of `artifactstore ingest`.
# Only the id is printed to stdout. Any other exit code than 0 means that the results are not stored, or not tagged.
set -eu

if [ $# -lt 2 ]; then
  echo "usage: push-results.sh DIR NAME [TAG [OPTION...]]" >&2
  exit 2
fi
results=$1 name=$2 tag=${3-}
shift 2
[ $# -eq 0 ] || shift

if [ ! -d "$results" ] || [ -z "$(ls -A -- "$results")" ]; then
  echo "push-results: there are no results in $results; nothing is stored" >&2
  exit 0
fi

# Progress goes to stderr: a line every few seconds, or ARTIFACTSTORE_PROGRESS=none for none.
stored=$(ARTIFACTSTORE_PROGRESS=${ARTIFACTSTORE_PROGRESS:-plain} artifactstore ingest --name "$name" --json "$@" -- "$results")
id=$(printf '%s\n' "$stored" | sed -n 's/^{"package_id": "\([0-9a-f-]*\)".*/\1/p')
if [ -n "$tag" ]; then
  artifactstore tag set "$tag" "$id" >&2
fi
printf '%s\n' "$id"
