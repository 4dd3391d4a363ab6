# Shared by the scripts here: where the throw-away copy of PostgreSQL lives and how to run a server.
# Everything sits outside the checkout, because the `postgres` user may not be able to read that.
set -euo pipefail
# What we make has to be readable by the `postgres` user.
umask 022

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"

pg_major=15
pgrx_version=0.18.1
work=${PG_MIG_WORK:-/var/tmp/pg_mig.$(printf '%s' "$repo" | md5sum | cut -c1-8)}
prefix=$work/pg
pg_bin=$prefix/lib/postgresql/$pg_major/bin
pgxs_test=$prefix/lib/postgresql/$pg_major/lib/pgxs/src/test

export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PGRX_HOME=$work/pgrx
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$repo/target}
# Client and server speak the same language on every machine: golden output depends on it.
export LC_ALL=C.UTF-8 PGTZ=UTC
# How long pg_ctl waits for a server, in seconds: it only matters where one hangs.
export PGCTLTIMEOUT=300
unset PGHOST PGPORT PGDATABASE PGUSER PGOPTIONS PGSERVICE PGPASSWORD

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# initdb and postgres refuse to run as root, so root hands over to the `postgres` user.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- env LC_ALL=C.UTF-8 "$@"; else "$@"; fi
}

# cluster_new DIR SUPERUSER: what initdb makes, which takes a second or two, is made once for each superuser and copied.
cluster_new() {
  local dir=$1 superuser=$2 model=$work/model.$2
  (
    flock 9
    if [ ! -d "$model/data" ]; then
      rm -rf "$model.new"
      mkdir -p "$model.new"
      [ "$(id -u)" != 0 ] || chown postgres "$model.new"
      as_postgres "$pg_bin/initdb" -D "$model.new/data" -U "$superuser" -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$model.log" 2>&1
      mv "$model.new" "$model"
    fi
  ) 9>"$model.lock"
  cp -a "$model" "$dir"
}

# cluster_start DIR [SUPERUSER [FILE]]: a new server in DIR, with the settings of FILE. It is reachable by its socket there and by
# nothing else, so that all of them can have the port that clients take where none is named. Trust is for that socket only.
cluster_start() {
  local dir=$1 superuser=${2:-postgres} settings=${3:-/dev/null}
  cluster_stop "$dir"
  rm -rf "$dir"
  cluster_new "$dir" "$superuser"
  chmod 755 "$dir"
  cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$dir'
max_connections = 60
max_prepared_transactions = 10
timezone = 'UTC'
log_timezone = 'UTC'
fsync = ${PG_MIG_FSYNC:-off}
$(cat "$settings")
CONF
  as_postgres "$pg_bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w start >/dev/null
}

# bouncer_start DIR: PgBouncer in transaction mode before the server of cluster_start, reachable by a socket in DIR/bouncer.
bouncer_start() {
  local dir=$1 port=5432
  mkdir -p "$dir/bouncer"
  printf '"authenticator" ""\n' >"$dir/bouncer/users"
  cat >"$dir/bouncer/conf" <<CONF
[databases]
* = host=$dir
[pgbouncer]
pool_mode = transaction
listen_port = $port
unix_socket_dir = $dir/bouncer
auth_type = trust
auth_file = $dir/bouncer/users
logfile = $dir/bouncer/log
pidfile = $dir/bouncer/pid
default_pool_size = 6
ignore_startup_parameters = extra_float_digits
CONF
  [ "$(id -u)" != 0 ] || chown -R postgres "$dir/bouncer"
  as_postgres /usr/sbin/pgbouncer -q -d "$dir/bouncer/conf"
  # It leaves its parent before it listens.
  local waited=0
  until [ -S "$dir/bouncer/.s.PGSQL.$port" ]; do
    if [ $((waited += 1)) -gt 3000 ]; then
      cat "$dir/bouncer/log" >&2
      return 1
    fi
    sleep 0.1
  done
}

bouncer_stop() { as_postgres kill "$(cat "$1/bouncer/pid")" 2>/dev/null || true; }

cluster_stop() {
  [ ! -f "$1/data/postmaster.pid" ] || as_postgres "$pg_bin/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null 2>&1 || true
}

# A library that a running server has mapped must not be overwritten in place: unlink it, then write a new one.
unlink_library() { as_root rm -f "$("$1" --pkglibdir)/pg_mig.so"; }

# Installs the extension into the copy, as a user gets it.
install_here() {
  unlink_library "$pg_bin/pg_config"
  cargo pgrx install --release --pg-config "$pg_bin/pg_config" >"$work/install.log" 2>&1 || { tail -50 "$work/install.log"; return 1; }
}
