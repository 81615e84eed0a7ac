-- Fair order: who waits for a deployment, where everybody's turns stand, and keeping that.

-- name: backlog
-- Jobs with chunks planned by one of the plans, the first of them, and what is needed to see
-- whether a deadline will be kept. One look into the index of planned chunks a job and plan.
select j.id, j.project_id, p.weight, j.weight, g.reached, coalesce(g.clock, 0), t.reached,
  a.limit_nusd is not null or b.limit_nusd is not null, head.id, head.size, head.plan_id,
  head.candidate, head.excluded, head.among, head.waited, extract(epoch from j.deadline - now())::float8,
  j.total - coalesce(done.requests, 0)
from jobs j
join projects p on p.id = j.project_id
join accounts a on a.id = j.account_id
join accounts b on b.id = j.project_account_id
cross join lateral (
  select c.* from unnest(%(plans)s::bigint[]) as u (plan_id)
  cross join lateral (
    select id, size, plan_id, candidate, excluded, among,
      extract(epoch from now() - not_before)::float8 as waited
    from chunks
    where deployment = %(home)s and plan_id = u.plan_id and job_id = j.id
      and status = 'planned'
    order by id limit 1
  ) c
  order by c.id limit 1
) head
left join turns t on t.deployment = %(home)s and t.project_id = j.project_id and t.job_id = j.id
left join turns g on g.deployment = %(home)s and g.project_id = j.project_id and g.job_id = 0
left join lateral (
  select sum(completed + failed + out_of_scope + needs_clarification)::bigint as requests
  from job_counters
  where job_id = j.id and j.deadline is not null
) done on true
where j.ended_at is null and j.stop is null and not j.paused;

-- name: clock
select reached from turns where deployment = %(home)s and project_id = 0 and job_id = 0;

-- name: heads
-- The first planned chunks of some jobs, as many as are asked for.
select q.job_id, c.id, c.size, c.plan_id, c.candidate, c.excluded, c.among, c.waited
from unnest(%(jobs)s::bigint[], %(depths)s::int[]) as q (job_id, depth)
cross join lateral (
  select h.* from unnest(%(plans)s::bigint[]) as u (plan_id)
  cross join lateral (
    select id, size, plan_id, candidate, excluded, among,
      extract(epoch from now() - not_before)::float8 as waited
    from chunks
    where deployment = %(home)s and plan_id = u.plan_id and job_id = q.job_id
      and status = 'planned'
    order by id limit q.depth
  ) h
  order by h.id limit q.depth
) c
order by q.job_id, c.id;

-- name: keep
insert into turns as t (deployment, project_id, job_id, reached, clock)
select %(home)s, u.* from
  unnest(%(projects)s::bigint[], %(jobs)s::bigint[], %(reached)s::float8[], %(clocks)s::float8[])
    as u
on conflict (deployment, project_id, job_id)
do update set reached = excluded.reached,
  clock = case when t.project_id = 0 then t.clock else excluded.clock end;

-- name: forget
-- Those that do not wait any more: should they come back, they are newcomers.
delete from turns t
where deployment = %(home)s and project_id > 0 and not exists (
  select from unnest(%(projects)s::bigint[], %(jobs)s::bigint[]) as u (project_id, job_id)
  where u.project_id = t.project_id and u.job_id = t.job_id);

-- name: bound
-- By deployment and job, what is bound and not yet sent: how far the job's service has come, and
-- its last turn. A turn is where a chunk ends; what is not sent of it is still to come.
select u.deployment, u.job_id,
  min(u.turn - u.unsent / (j.weight * p.weight)) filter (where u.turn > 0 and u.not_before <= now()),
  max(u.turn)
from (
  select deployment, job_id, turn, not_before, size as unsent from chunks
  where deployment = any(%(deployments)s::text[]) and status in ('ready', 'waiting')
    and kind = 'call'
  union all
  select deployment, job_id, turn, not_before, size - sent from chunks
  where deployment = any(%(deployments)s::text[]) and status = 'leased' and sent < size
) u
join jobs j on j.id = u.job_id
join projects p on p.id = j.project_id
group by u.deployment, u.job_id;

-- name: last_turns
select deployment, clock from turns
where deployment = any(%(deployments)s::text[]) and project_id = 0 and job_id = 0;

-- name: keep_last
insert into turns (deployment, project_id, job_id, reached, clock)
select u.deployment, 0, 0, 0, u.last
from unnest(%(deployments)s::text[], %(lasts)s::float8[]) as u (deployment, last)
on conflict (deployment, project_id, job_id) do update set clock = excluded.clock;
