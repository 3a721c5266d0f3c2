#!/bin/sh
# Run one PostgreSQL instance. Ordinal 0 is the primary and initialises the database; every further ordinal copies the
# primary once with pg_basebackup and then streams from it. A data directory appears under its final name only when it
# is complete: a pod that dies in the middle starts over.
#
# Environment: POD_NAME (ends in -ORDINAL), PGDATA, CONFIG_DIR (postgresql.conf, pg_hba.conf), INIT_SQL (a file), PRIMARY_HOST,
# PGPORT, SUPERUSER_PASSWORD, REPLICATION_PASSWORD.
set -eu
umask 077

ordinal=${POD_NAME##*-}
scratch=$PGDATA.incomplete

log() { echo "run.sh: $*" >&2; }

# Text as an SQL string literal.
literal() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

initialise() {
  log "initialising a new database in $PGDATA"
  rm -rf "$scratch"
  passwords=$(mktemp)
  printf '%s\n' "$SUPERUSER_PASSWORD" >"$passwords"
  initdb --pgdata="$scratch" --username=postgres --pwfile="$passwords" --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C --data-checksums >&2
  rm -f "$passwords"
  sockets=$(mktemp -d)
  pg_ctl --pgdata="$scratch" --wait --silent --log="$scratch/init.log" \
    --options="-c listen_addresses='' -c unix_socket_directories='$sockets'" start >&2
  {
    printf 'CREATE ROLE replicator LOGIN REPLICATION PASSWORD %s;\n' "$(literal "$REPLICATION_PASSWORD")"
    cat "$INIT_SQL"
  } | psql --host="$sockets" --username=postgres --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 >&2
  pg_ctl --pgdata="$scratch" --wait --silent --mode=fast stop >&2
  rm -rf "$sockets"
  mv "$scratch" "$PGDATA"
}

copy_primary() {
  log "copying the primary at $PRIMARY_HOST:$PGPORT"
  until PGPASSWORD=$REPLICATION_PASSWORD pg_isready --host="$PRIMARY_HOST" --port="$PGPORT" --username=replicator --quiet; do
    log "the primary does not accept connections yet"
    sleep 1
  done
  rm -rf "$scratch"
  PGPASSWORD=$REPLICATION_PASSWORD pg_basebackup --pgdata="$scratch" --host="$PRIMARY_HOST" --port="$PGPORT" \
    --username=replicator --wal-method=stream --checkpoint=fast --write-recovery-conf >&2
  mv "$scratch" "$PGDATA"
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$(dirname "$PGDATA")"
  if [ "$ordinal" = 0 ]; then initialise; else copy_primary; fi
fi

# exec: postgres becomes the container's first process and gets its signals.
exec postgres -D "$PGDATA" -c "config_file=$CONFIG_DIR/postgresql.conf" -c "hba_file=$CONFIG_DIR/pg_hba.conf" \
  -c "port=$PGPORT" "$@"
