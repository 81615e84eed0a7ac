-- What some projects have bound.

-- name: held
-- Requests that are bound or with a lane, those that wait for long left out; of a few that are
-- planned, mean tokens in and mean limit of tokens out; and where these and those stand.
with bound as (
  select job_id, deployment, size from chunks
  where status in ('ready', 'waiting') and kind = 'call'
    and not_before < now() + %(seconds)s * interval '1 second'
  union all
  select job_id, deployment, size from chunks where status = 'leased' and kind = 'call'
), held as (
  select j.project_id, sum(b.size)::bigint as requests, array_agg(distinct b.deployment) as places
  from bound b
  join jobs j on j.id = b.job_id
  group by j.project_id
)
select p.id, p.name, coalesce(h.requests, 0), coalesce(h.places, '{}') || coalesce(m.places, '{}'),
  m.tokens, m.outputs
from projects p
left join held h on h.project_id = p.id
cross join lateral (
  select avg(t.tokens)::float8 as tokens, avg(t.outputs)::float8 as outputs,
    array_agg(distinct few.deployment) as places
  from (
    select c.deployment, c.tokens, c.outputs from jobs j
    cross join lateral (
      select deployment, tokens, outputs from chunks
      where job_id = j.id and status = 'planned' and deployment > '' limit 1
    ) c
    where j.project_id = p.id and j.ended_at is null limit 3
  ) few
  cross join lateral unnest(few.tokens, few.outputs) as t (tokens, outputs)
) m
where p.name = any(%(names)s::text[]);
