pragma journal_mode = wal;
create table t(n integer primary key, text text);
begin;
with recursive numbers(n) as (select 0 union all select n + 1 from numbers where n < 499)
insert into t select n, hex(randomblob(20)) from numbers;
commit;
create index by_text on t(text);
select count(*) from t;
select sum(n) from t;
vacuum;
pragma integrity_check;
