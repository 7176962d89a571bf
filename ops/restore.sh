#!/bin/sh
# Makes a dump the append-only file of a server that has none: `sh restore.sh dump.rdb /data`, with the server stopped.
# An append-only file is a manifest, a base that may be a dump, and what came after it (redis.io/docs, "Redis
# persistence", multi-part AOF, 7.0).
set -eu
dump=$1
files=$2/appendonlydir
if [ -e "$files" ]; then
  echo "restore: $files is there already; expected a folder without one" >&2
  exit 1
fi
mkdir "$files"
cp "$dump" "$files/appendonly.aof.1.base.rdb"
echo 'file appendonly.aof.1.base.rdb seq 1 type b' >"$files/appendonly.aof.manifest"
