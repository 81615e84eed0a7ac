-- What a step down may take away.

-- name: there
select to_regclass('jobs') is not null and to_regclass('job_counters') is not null
  and to_regclass('processes') is not null;

-- name: stake
-- Results by the counters: counting the rows of a large yard takes minutes.
select (select count(*) from jobs),
  (select coalesce(sum(completed + failed), 0)::bigint from job_counters),
  (select count(*) from processes where lease_until > now());
