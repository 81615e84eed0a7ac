-- Dispatch: which planned chunks are bound now, and how many tickets a provider needs.

-- name: lock_provider
-- One dispatch at a time per provider, whoever runs it.
insert into providers (name) values (%(provider)s) on conflict do nothing;

-- name: hold_provider
select name from providers where name = %(provider)s for update skip locked;

-- name: stamp_provider
update providers set dispatched_at = now() where name = %(provider)s;

-- name: work
-- What waits for each deployment: chunks that are not bound, and bound requests, all and due.
-- The last column: whether a deployment's cooling is over and its row does not say so yet.
select u.deployment,
  exists (select from chunks c where c.deployment = u.deployment and c.status = 'planned'),
  coalesce(bound.total, 0), coalesce(bound.due, 0),
  exists (select from deployment_state s
    where s.deployment = u.deployment and s.status = 'cooling' and s.until <= now())
from unnest(%(deployments)s::text[]) as u (deployment)
cross join lateral (
  select sum(c.size)::bigint as total,
    sum(c.size) filter (where c.not_before <= now())::bigint as due
  from chunks c
  where c.deployment = u.deployment and c.status in ('ready', 'waiting') and c.kind = 'call'
) bound;

-- name: bind
-- What was paused meanwhile stays; what waits for its time goes on waiting.
update chunks c set turn = u.turn, not_before = greatest(c.not_before, now()),
  status = case when c.not_before > now() then 'waiting' else 'ready' end
from unnest(%(ids)s::bigint[], %(turns)s::float8[]) as u (id, turn)
where c.id = u.id and c.status = 'planned';

-- name: rate
-- Attempts a second over the life of the present jobs: slow to follow, but the horizon has a
-- floor of its own.
select coalesce(sum(attempts), 0)::float
  / greatest(1, extract(epoch from now() - min(j.in_progress_at)))::float
from job_counters c join jobs j on j.id = c.job_id
where c.deployment = %(deployment)s and j.ended_at is null;

-- name: live_lanes
-- Queued tickets that nobody started for long are taken for lost and forgotten: should such a
-- ticket turn up after all, it finds its row gone and does nothing.
with lost as (
  delete from lanes l
  where l.provider = %(provider)s and (
    (l.status = 'queued' and l.issued_at < now() - %(lost_after)s * interval '1 second')
    or (l.status = 'running' and not exists (
      select from processes p where p.id = l.process_id and p.lease_until > now())))
  returning id
)
select count(*) from lanes
where provider = %(provider)s and id not in (select id from lost);

-- name: issue
insert into lanes (provider) select %(provider)s from generate_series(1, %(count)s) returning id;

-- name: start_lane
-- Of its own ticket a process may ask twice: the first answer may have been lost.
update lanes set status = 'running', process_id = %(process_id)s, started_at = now()
where id = %(id)s and (status = 'queued' or process_id = %(process_id)s) returning id;

-- name: end_lane
delete from lanes where id = %(id)s;

-- name: closed_deployments
select deployment from deployment_state
where status not in ('open', 'probing') and (until is null or until > now());
