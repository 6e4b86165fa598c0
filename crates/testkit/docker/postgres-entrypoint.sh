#!/bin/sh
# What `postgres` of the official image does with POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD and
# POSTGRES_PASSWORD_FILE, and no more: a stand-in made of Debian's own server, for tests alone.
set -eu

PGDATA=${PGDATA:-/var/lib/postgresql/data}
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres: "$PGDATA" /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=${POSTGRES_PASSWORD:-}
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        password=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
    : "${password:?set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE}"
    file=$(mktemp)
    printf '%s\n' "$password" >"$file"
    initdb --pgdata "$PGDATA" --username "$user" --pwfile "$file" --auth-host scram-sha-256 \
        --auth-local trust --encoding UTF8
    rm "$file"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Nobody is served before the database is there.
    if [ "$database" != postgres ]; then
        echo "CREATE DATABASE \"$database\"" | postgres --single -D "$PGDATA" -j postgres >/dev/null
    fi
fi
exec "$@" -D "$PGDATA" -c listen_addresses='*'
