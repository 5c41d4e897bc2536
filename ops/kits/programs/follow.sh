#!/bin/sh
# Follows the live feed (server-sent events) and prints each change as a line of JSON; Ctrl-C ends it.
# It goes on where it was: `position` keeps the last place that was printed. ./acknowledge.sh says that you have all up to it for good.
# The token is read from MESH_TOKEN, or from the file `token` beside this script; it never stands in a command line.
# More arguments go to curl, such as --max-time 10, or --cacert ca.pem for an authority that this machine does not know.
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
position=''
if [ -s "$here/position" ]; then position=$(cat "$here/position"); fi
{
    printf 'header = "Authorization: Bearer %s"\n' "$token"
    printf 'header = "Accept: text/event-stream"\n'
    if [ -n "$position" ]; then printf 'header = "Last-Event-ID: %s"\n' "$position"; fi
} | { curl --config - --no-buffer --silent --show-error --fail-with-body "$@" "$url/v1/stream" || printf '\nended: %s\n' "$?"; } | {
    status=0
    while IFS= read -r line; do
        case $line in
            'data: '*) printf '%s\n' "${line#data: }" ;;
            'id: '*) place=${line#id: } ;;
            '') if [ -n "${place:-}" ]; then printf '%s\n' "$place" >"$here/position.new"; mv "$here/position.new" "$here/position"; place=''; fi ;;
            'ended: '*) status=${line#ended: } ;;
            : | ': '* | event:* | retry:*) ;;
            *) printf '%s\n' "$line" >&2 ;;
        esac
    done
    exit "$status"
}
