-- What stands where in the yard, for people who look (`batchyard ps`).

-- name: backlog
select c.deployment, c.status, sum(c.size - c.sent)::bigint,
  coalesce(extract(epoch from now() - min(c.not_before)), 0)::float8
from chunks c
where c.status in ('planned', 'ready', 'waiting', 'leased') and c.kind = 'call'
group by 1, 2;

-- name: unrouted
-- Each kind by its own index: asked for together they are looked for among all open chunks.
select sum(size)::bigint from (
  select coalesce(sum(size), 0) as size from chunks where kind = 'route' and status <> 'done'
  union all
  select coalesce(sum(size), 0) from chunks where kind = 'plan' and status <> 'done'
) u;

-- name: lanes
select provider, status, count(*) from lanes group by 1, 2;

-- name: deployments
select deployment, status, cause, reason, margin, extract(epoch from until - now())::float8,
  drained
from deployment_state;

-- name: processes
select p.id, p.kind, p.host, p.pid, extract(epoch from p.lease_until - now())::float8,
  extract(epoch from now() - p.started_at)::float8,
  coalesce((
    select sum(c.size - c.sent) from chunks c where c.owner = p.id and c.status = 'leased'
  ), 0)::bigint,
  p.controls
from processes p order by p.id;

-- name: active_jobs
select count(*) from jobs where ended_at is null;

-- name: recent_jobs
select id, status, name from jobs where project_id = %(project_id)s
order by id desc limit %(limit)s;

-- name: project_names
select name from projects order by name;
