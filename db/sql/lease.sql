-- How a lane takes bound chunks.

-- name: claim
-- In the order of their turns, as far as these come before `before`, small ones together, up to
-- about `room` requests. The inner limit bounds how many rows a claim may hold while it picks.
with due as (
  select id, sum(size) over (order by turn, not_before, id) - size as before
  from (
    select id, size, turn, not_before from chunks
    where deployment = %(deployment)s and status in ('ready', 'waiting') and kind = 'call'
      and turn < %(before)s and not_before <= now()
    order by turn, not_before, id limit 32
    for update skip locked
  ) nearest
), taken as (
  update chunks c set status = 'leased', owner = %(owner)s, fence = c.fence + 1, sent = 0,
    reason = ''
  from due where c.id = due.id and due.before < %(room)s
  returning c.*
)
select {leased.columns}, projects.name, c.turn, j.kind = 'intent'
from taken c {leased.joins}
join projects on projects.id = j.project_id
order by c.turn, c.not_before, c.id;

-- name: due
select u.deployment from unnest(%(deployments)s::text[]) as u (deployment)
where exists (select from chunks c
  where c.deployment = u.deployment and c.status in ('ready', 'waiting') and c.kind = 'call'
    and c.not_before <= now());

-- name: bodies
select seq, body from requests
where part = %(part)s and job_id = %(job_id)s and seq = any(%(seqs)s::int[]);

-- name: disown
-- A lane that broke down leaves its chunks to the sweep, as a dead process would.
update chunks c set owner = null
from unnest(%(ids)s::bigint[], %(fences)s::int[]) as held (id, fence)
where c.id = held.id and c.fence = held.fence and c.owner = %(owner)s and c.status = 'leased';

-- name: disown_unknown
update chunks c set owner = null
where c.owner = %(owner)s and c.status = 'leased' and not exists (
  select from unnest(%(ids)s::bigint[], %(fences)s::int[]) as held (id, fence)
  where held.id = c.id and held.fence = c.fence);

-- name: halted
-- Jobs that were paused or stopped while the owner holds chunks of them.
select distinct j.id
from chunks c join jobs j on j.id = c.job_id
where c.owner = %(owner)s and c.status = 'leased' and (j.paused or j.stop is not null);
