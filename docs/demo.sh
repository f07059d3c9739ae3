#!/bin/sh
# `make demo`: ingest a real directory, verify every byte, and replay the log, in a store that is deleted at the end.
set -eu
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
export ARTIFACTSTORE_DATABASE_URL="sqlite:///$store/artifactstore.db" ARTIFACTSTORE_STORAGE_LOCAL_ROOT="$store/objects"

echo "-- artifactstore ingest $DIR"
$RUN artifactstore ingest "$DIR" --name demo
echo "-- artifactstore verify"
$RUN artifactstore verify
echo "-- artifactstore replay"
$RUN artifactstore replay --check
