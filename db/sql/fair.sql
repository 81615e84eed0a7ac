-- Fair order: whose turn it is at a deployment, where everybody's turns stand, and keeping that.

-- name: arrive
-- Newcomers begin at the clock: the jobs of which something is planned here by one of the plans
-- and that have no turn yet, and their projects. Where many jobs have none, because they stand
-- elsewhere, those that stand here are found by one step each through the index.
with recursive absent as materialized (
  select j.id, j.project_id from jobs j
  where j.ended_at is null and j.stop is null and not j.paused and not exists (
    select from turns t
    where t.deployment = %(home)s and t.project_id = j.project_id and t.job_id = j.id)
), few as materialized (
  select count(*) * cardinality(%(plans)s::bigint[]) <= %(few)s as few from absent
), standing as (
  select u.plan_id, c.job_id
  from unnest(%(plans)s::bigint[]) as u (plan_id)
  cross join lateral (
    select job_id from chunks
    where deployment = %(home)s and plan_id = u.plan_id and status = 'planned'
    order by job_id limit 1
  ) c
  where not (select few from few)
  union all
  select s.plan_id, c.job_id
  from standing s
  cross join lateral (
    select job_id from chunks
    where deployment = %(home)s and plan_id = s.plan_id and job_id > s.job_id
      and status = 'planned'
    order by job_id limit 1
  ) c
), new as (
  select a.id, a.project_id, c.size
  from absent a
  cross join lateral (
    select size from chunks
    where deployment = %(home)s and plan_id = any(%(plans)s::bigint[]) and job_id = a.id
      and status = 'planned'
    limit 1
  ) c
  where (select few from few) or a.id in (select job_id from standing)
)
insert into turns (deployment, project_id, job_id, reached, head)
select %(home)s, n.project_id, n.id, coalesce(g.clock, 0), n.size
from new n
left join turns g on g.deployment = %(home)s and g.project_id = n.project_id and g.job_id = 0
union all
select %(home)s, p.project_id, 0, %(clock)s::float8, 0
from (select distinct project_id from new) p
where not exists (select from turns g
  where g.deployment = %(home)s and g.project_id = p.project_id and g.job_id = 0);

-- name: next
-- The jobs whose turn comes next among those that wait: each project's by the ends of their next
-- chunks, the projects by where they stand when those are served, until there is no room. For
-- this a job's next chunk is as large as it was when it was last looked at, so that only the jobs
-- that are returned need be looked for among the chunks. A job that may come too late for its
-- deadline is heavier by what its share of the deployment's rate falls short of its need.
with waits as materialized (
  select j.id, j.project_id, j.account_id, j.project_account_id, p.weight as project_weight,
    j.weight, t.reached, t.head, j.total, extract(epoch from j.deadline - now())::float8 as seconds
  from turns t
  join jobs j on j.id = t.job_id
  join projects p on p.id = t.project_id
  where t.deployment = %(home)s and t.job_id > 0
    and j.ended_at is null and j.stop is null and not j.paused
    and j.project_id <> all(%(full)s::bigint[])
), shares as (
  select w.*, %(rate)s::float8 * w.weight / sum(w.weight) over (partition by w.project_id)
    * w.project_weight / (select sum(weight) from projects
      where id in (select project_id from waits)) as share
  from waits w
), hasty as (
  select s.*, case when seconds is null or share = 0 or share * greatest(seconds, 1) >= total then 1
    else least(%(most_job)s::float8, greatest(1, (total - coalesce((
      select sum(completed + failed + out_of_scope + needs_clarification)
      from job_counters where job_id = s.id), 0)) / (share * greatest(seconds, 1)))) end as times
  from shares s
), ends as (
  select h.id, h.project_id, h.account_id, h.project_account_id, h.reached, h.head,
    h.weight * h.times as weight,
    h.project_weight * least(%(most_project)s::float8, max(h.times) over (partition by h.project_id))
      as project_weight,
    g.reached as project_reached, g.clock as project_clock,
    h.reached + h.head / (h.weight * h.times) as job_end
  from hasty h
  join turns g on g.deployment = %(home)s and g.project_id = h.project_id and g.job_id = 0
), merged as (
  select e.*, e.project_reached + sum(e.head) over (
    partition by e.project_id order by e.job_end, e.id) / e.project_weight as project_end
  from ends e
), lined as (
  select m.*, sum(head) over (order by project_end, project_id, job_end, id) - head as before
  from merged m
)
select l.id, l.project_id, l.project_weight, l.weight, l.project_reached, l.project_clock,
  l.reached, l.head, a.limit_nusd is not null or b.limit_nusd is not null
from lined l
join accounts a on a.id = l.account_id
join accounts b on b.id = l.project_account_id
where l.before < %(room)s and l.id <> all(%(seen)s::bigint[]);

-- name: clocks
select deployment, reached from turns
where deployment = any(%(homes)s::text[]) and project_id = 0 and job_id = 0;

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
insert into turns as t (deployment, project_id, job_id, reached, clock, head)
select (%(homes)s::text[])[u.place], u.project_id, u.job_id, u.reached, u.clock, u.head
from unnest(%(places)s::int[], %(projects)s::bigint[], %(jobs)s::bigint[], %(reached)s::float8[],
  %(clocks)s::float8[], %(heads)s::int[]) as u (place, project_id, job_id, reached, clock, head)
on conflict (deployment, project_id, job_id)
do update set reached = excluded.reached, head = excluded.head,
  clock = case when t.project_id = 0 then t.clock else excluded.clock end;

-- name: forget
-- Those that do not wait any more, as was seen or as their jobs say: should they come back, they
-- are newcomers.
with gone as (
  select * from unnest(%(gone_homes)s::text[], %(gone)s::bigint[]) as u (deployment, job_id)
  union
  select t.deployment, t.job_id
  from turns t
  left join jobs j on j.id = t.job_id and j.ended_at is null and j.stop is null and not j.paused
  where t.deployment = any(%(homes)s::text[]) and t.job_id > 0 and j.id is null
)
delete from turns t using gone
where t.deployment = gone.deployment and t.job_id = gone.job_id and t.project_id > 0;

-- name: forget_projects
delete from turns t
where t.deployment = any(%(homes)s::text[]) and t.job_id = 0 and t.project_id > 0 and not exists (
  select from turns u
  where u.deployment = t.deployment and u.project_id = t.project_id and u.job_id > 0);

-- name: bound
-- By deployment, job and crowd, what is bound and not yet sent: how far the job's service has
-- come, and its last turn. A turn is where a chunk ends; what is not sent of it is still to come.
select u.deployment, u.job_id, j.project_id, j.weight, u.crowd,
  min(u.turn - u.unsent * u.crowd / (j.weight * p.weight))
    filter (where u.turn > 0 and u.not_before <= now()),
  max(u.turn)
from (
  select deployment, job_id, turn, crowd, not_before, size as unsent from chunks
  where deployment = any(%(deployments)s::text[]) and status in ('ready', 'waiting')
    and kind = 'call'
  union all
  select deployment, job_id, turn, crowd, not_before, size - sent from chunks
  where deployment = any(%(deployments)s::text[]) and status = 'leased' and sent < size
) u
join jobs j on j.id = u.job_id
join projects p on p.id = j.project_id
group by u.deployment, u.job_id, j.project_id, j.weight, u.crowd;

-- name: last_turns
select deployment, clock from turns
where deployment = any(%(deployments)s::text[]) and project_id = 0 and job_id = 0;

-- name: keep_last
insert into turns (deployment, project_id, job_id, reached, clock)
select u.deployment, 0, 0, 0, u.last
from unnest(%(deployments)s::text[], %(lasts)s::float8[]) as u (deployment, last)
on conflict (deployment, project_id, job_id) do update set clock = excluded.clock;
