#!/bin/sh
# Says to the mesh that you have for good all that ./follow.sh has printed up to `position`: it counts as delivered.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
. "$here/kit.env"
url=${MESH_URL:-$KIT_URL}
token=${MESH_TOKEN:-}
if [ -z "$token" ] && [ -r "$here/token" ]; then token=$(cat "$here/token"); fi
if [ -z "$token" ]; then
    echo "no token: put the one that was handed to you into MESH_TOKEN, or into $here/token (mode 0600)" >&2
    exit 2
fi
if [ ! -s "$here/position" ]; then
    echo "nothing was printed yet: run ./follow.sh first" >&2
    exit 1
fi
position=$(cat "$here/position")
printf 'header = "Authorization: Bearer %s"\nheader = "Content-Type: application/json"\n' "$token" |
    curl --config - --silent --show-error --fail-with-body "$@" --data "{\"position\": \"$position\"}" "$url/v1/ack"
echo
