#!/bin/sh
# Adds this node to a pool at its start, and takes it out at its stop. Needs curl, and nothing else.
#
#   API=https://edge.example.com/client/v4 TOKEN=… POOL=ID ADDRESS=192.0.2.1 [PORT=8080] service-registration.sh start
#   … service-registration.sh stop
#
# In a unit: ExecStartPost=/usr/lib/bartizan/service-registration.sh start, ExecStopPost=… stop. The token needs
# "Load Balancing: Monitors and Pools Write". CACERT names the edge's ca.pem where its certificate is its own.
#
# The list of a pool's nodes is written whole, so it is written only as it was read: where another node was faster (412),
# it is read again.
set -eu

: "${API:?}" "${TOKEN:?}" "${POOL:?}" "${ADDRESS:?}"
action=${1:?start or stop}
port=${PORT:-}
pool="$API/user/load_balancers/pools/$POOL"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

call() {
    curl --silent --show-error ${CACERT:+--cacert "$CACERT"} --header "Authorization: Bearer $TOKEN" "$@"
}

# Nodes of the pool, one a line. Their objects have no objects inside but an empty header.
nodes() {
    sed 's/.*"origins":\[//; s/\],"created_on".*//' "$folder/pool" | sed 's/},{/}\n{/g'
}

try=0
while [ "$try" -lt 20 ]; do
    try=$((try + 1))
    call --fail --dump-header "$folder/head" --output "$folder/pool" "$pool"
    tag=$(tr -d '\r' < "$folder/head" | sed -n 's/^[Ee][Tt][Aa][Gg]: *//p')
    others=$(nodes | grep -v "\"address\":\"$ADDRESS\"[^}]*${port:+\"port\":$port[,\}]}" | paste -s -d , -) || others=""
    own="{\"name\":\"$(hostname)\",\"address\":\"$ADDRESS\",\"enabled\":true${port:+,\"port\":$port}}"
    case $action in
    start) origins="${others:+$others,}$own" ;;
    stop) origins=$others ;;
    *) echo "start or stop, not $action" >&2; exit 2 ;;
    esac
    # A pool is never empty: the last node stays in it, switched off.
    [ -n "$origins" ] || origins=$(printf %s "$own" | sed 's/"enabled":true/"enabled":false/')
    status=$(call --request PATCH --header "If-Match: $tag" --header "Content-Type: application/json" \
        --data "{\"origins\":[$origins]}" --output "$folder/answer" --write-out '%{http_code}' "$pool")
    case $status in
    200) exit 0 ;;
    412) sleep 1 ;;
    *) cat "$folder/answer" >&2; exit 1 ;;
    esac
done
echo "other nodes were faster $try times" >&2
exit 1
