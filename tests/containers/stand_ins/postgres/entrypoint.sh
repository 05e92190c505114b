# A user with a password from a file and a database, on an empty volume; then the server.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --auth=scram-sha-256 --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c unix_socket_directories=$PGHOST -c listen_addresses=" start
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -w stop
fi
exec postgres -c 'listen_addresses=*' -c "unix_socket_directories=$PGHOST"
