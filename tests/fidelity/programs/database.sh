# A database cluster from nothing: initdb, start, queries of two clients, stop. Runs as the user postgres.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
"$bin/initdb" -D data -A trust --no-sync -E UTF8 --locale=C > init.log
"$bin/pg_ctl" -D data -w -s -l log -o "-c listen_addresses=127.0.0.1 -c port=$1 -k $PWD" start
q() { "$bin/psql" -h "$1" -p "$2" -d postgres -XAtq -c "$3"; }
q 127.0.0.1 "$1" 'create table t as select n from generate_series(1, 5000) n'
q "$PWD" "$1" 'create index on t(n); analyze t; select sum(n) from t'
q 127.0.0.1 "$1" 'checkpoint; select count(*) from t a join t b using (n)'
"$bin/pg_ctl" -D data -w -s -m fast stop
