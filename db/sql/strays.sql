-- Chunks that are bound to, or planned on, a deployment that the configuration has lost.

-- name: deployments
-- What chunks without an owner name, each name found by one step through an index.
with recursive planned as (
  select min(deployment) as name from chunks where status = 'planned' and deployment > ''
  union all
  select (select min(deployment) from chunks where status = 'planned' and deployment > p.name)
  from planned p where p.name is not null
), bound as (
  select min(deployment) as name from chunks
  where status in ('ready', 'waiting') and kind = 'call'
  union all
  select (select min(deployment) from chunks
    where status in ('ready', 'waiting') and kind = 'call' and deployment > b.name)
  from bound b where b.name is not null
)
select name from planned where name is not null union select name from bound where name is not null;

-- name: lock
-- A job that is younger than this process may know a configuration that is younger, too.
select {leased.columns}
from chunks c {leased.joins}
where c.kind = 'call' and c.status in ('planned', 'ready', 'waiting')
  and c.deployment = any(%(gone)s::text[]) and j.stop is null
  and (j.config_digest = %(config)s or j.created_at < (
    select started_at from processes where id = %(process_id)s))
order by c.id limit 10
for update of c skip locked;

-- name: lock_steps
-- Requests of cascades that have waited for their next candidate for so many seconds.
select {leased.columns}
from chunks c {leased.joins}
where c.kind = 'call' and c.status = 'planned' and c.excluded <> 0
  and c.deployment = any(%(away)s::text[]) and plans.body ->> 'cascade' is not null
  and j.stop is null and not j.paused and c.not_before < now() - %(seconds)s * interval '1 second'
order by c.id limit 20
for update of c skip locked;

-- name: forgive
-- Those that have given up on the requests may be asked again.
update chunks set excluded = 0, not_before = now() where id = %(id)s;

-- name: rebind
update chunks set candidate = %(candidate)s, deployment = %(deployment)s, bounds = %(bounds)s,
  status = 'planned', fence = fence + 1, not_before = now(), reason = %(reason)s
where id = %(id)s;

-- name: fail
-- The results of requests that nobody can call any more. One that was called before ends with
-- its last call.
with stray as (
  select c.id, c.job_id, c.part, c.round, c.deployment, e.seq, e.n
  from chunks c cross join lateral unnest(c.seqs, c.calls) as e (seq, n)
  where c.id = any(%(ids)s::bigint[])
), written as (
  insert into results (part, job_id, seq, round, status, deployment, n, error, commit_id)
  select s.part, s.job_id, s.seq, s.round, 'failed', coalesce(a.deployment, ''),
    coalesce(a.n, 0), %(error)s, coalesce(a.commit_id, 0)
  from stray s
  left join attempts a on a.part = s.part and a.job_id = s.job_id and a.seq = s.seq
    and a.n = s.n and a.round = s.round
  on conflict do nothing
  returning job_id, deployment
)
insert into job_counters as c (job_id, deployment, writer, failed)
select job_id, deployment, 0, count(*) from written
group by job_id, deployment order by job_id, deployment
on conflict (job_id, deployment, writer) do update set failed = c.failed + excluded.failed,
  updated_at = now();

-- name: close
update chunks set status = 'done', reason = %(reason)s where id = any(%(ids)s::bigint[]);
