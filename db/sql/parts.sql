-- Partitions of the big tables: made apart and attached, so that nobody who writes has to wait.

-- name: month
select to_char(now(), 'YYYYMM')::int;

-- name: exists
select exists (select from parts where id = %(part)s);

-- name: lock
select pg_advisory_xact_lock(hashtext('batchyard.parts'));

-- name: add
insert into parts (id) values (%(part)s);

-- name: remove
delete from parts where id = %(part)s;
