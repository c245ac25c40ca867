#!/bin/sh
# Starts redis-server with redis.conf and users.acl, in the foreground. From the environment:
#
#   REDIS_WORKER_PASSWORD, REDIS_OPERATOR_PASSWORD, REDIS_REPLICA_PASSWORD
#   REDIS_DIR          where the data lives (/data)
#   REDIS_BIND         addresses to listen on (all)
#   REDIS_PORT         (6379)
#   REDIS_MAXMEMORY    such as 2gb; full, it refuses claims (0: no limit)
#   REDIS_REPLICAOF    "host port" of the master, on a replica
#   REDIS_TLS_CERT, REDIS_TLS_KEY, REDIS_TLS_CA   PEM files: then it listens with TLS alone
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
dir=${REDIS_DIR:-/data}
: "${REDIS_WORKER_PASSWORD:?is missing}" "${REDIS_OPERATOR_PASSWORD:?is missing}" "${REDIS_REPLICA_PASSWORD:?is missing}"

# Redis keeps hashes of passwords; with what is not one it does not start.
hash() { printf %s "$1" | sha256sum | cut -c 1-64; }
sed -e "s/#REDIS_WORKER_PASSWORD/#$(hash "$REDIS_WORKER_PASSWORD")/" \
	-e "s/#REDIS_OPERATOR_PASSWORD/#$(hash "$REDIS_OPERATOR_PASSWORD")/" \
	-e "s/#REDIS_REPLICA_PASSWORD/#$(hash "$REDIS_REPLICA_PASSWORD")/" "$here/users.acl" >"$dir/users.acl"

port=${REDIS_PORT:-6379}
listen="port $port"
if [ -n "${REDIS_TLS_CERT:-}" ]; then
	listen="port 0
tls-port $port
tls-cert-file \"$REDIS_TLS_CERT\"
tls-key-file \"$REDIS_TLS_KEY\"
tls-ca-cert-file \"$REDIS_TLS_CA\"
tls-auth-clients optional
tls-replication yes"
fi

# What is read from standard input is shown by no list of processes.
exec redis-server "$here/redis.conf" - <<EOF
dir "$dir"
bind ${REDIS_BIND:-* -::*}
$listen
maxmemory ${REDIS_MAXMEMORY:-0}
masteruser replica
masterauth "$REDIS_REPLICA_PASSWORD"
${REDIS_REPLICAOF:+replicaof $REDIS_REPLICAOF}
EOF
