-- What may hold a job up.

-- name: facts
select j.status, j.stop, j.paused, p.name,
  least(a.limit_nusd - a.spent_nusd - a.reserved_nusd, b.limit_nusd - b.spent_nusd - b.reserved_nusd),
  (select count(*) from processes where lease_until > now()),
  (select count(*) from processes where lease_until > now() and controls),
  (select count(*) from lanes where status = 'running'),
  (select count(*) from lanes where status = 'queued')
from jobs j
join projects p on p.id = j.project_id
join accounts a on a.id = j.account_id
join accounts b on b.id = j.project_account_id
where j.id = %(job_id)s;

-- name: standing
-- The open chunks, by what they wait for.
select kind, status, deployment, reason, count(*) as chunks, sum(size - sent)::bigint as unsent,
  extract(epoch from min(not_before) - now())::float8 as due
from chunks where job_id = %(job_id)s and status <> 'done'
group by kind, status, deployment, reason
order by kind, status, deployment, reason;

-- name: candidates
-- Deployments that may answer what is open in the job.
select deployment from chunks where job_id = %(job_id)s and status <> 'done'
union
select jsonb_array_elements_text(body -> 'candidates') from plans where id in (
  select plan_id from chunks where job_id = %(job_id)s and status <> 'done');

-- name: closed
-- A server that is away is looked at again by then, and comes back whenever it does.
select deployment, status, reason, drained,
  case when cause is distinct from 'unreachable' then extract(epoch from until - now())::float8 end as reopens
from deployment_state
where (status <> 'open' or drained) and (until is null or until > now())
  and deployment = any(%(deployments)s::text[])
order by deployment;
