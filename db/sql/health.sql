-- How deployments stand. A line without a row is open.

-- name: conditions
select deployment, status, cause, reason, extract(epoch from until - now())::float8, drained
from deployment_state where status <> 'open' or drained;

-- name: turn
-- Cooling that is over. What was closed for its limits is simply open again; what failed is
-- tried with a few calls first, and goes on saying why. A step that does so in a long transaction
-- keeps nobody waiting.
with over as (
  select deployment from deployment_state where status = 'cooling' and until <= now()
  order by deployment for no key update skip locked
)
update deployment_state s set
  status = case when cause = 'limits' then 'open' else 'probing' end,
  reason = case when cause = 'limits' then '' else reason end,
  cause = case when cause = 'limits' then null else cause end,
  until = null, updated_at = now()
from over where s.deployment = over.deployment
returning s.deployment, s.status = 'open';

-- name: trip
-- Twice as long each time, until it has been open for a while. Of several processes that find
-- it broken at once the first one counts. What the provider itself asked for is not cut short.
insert into deployment_state as s (deployment, status, cause, reason, until, trips)
select d, 'cooling', %(cause)s, %(reason)s, now() + %(first)s * %(jitter)s * interval '1 second', 1
from unnest(%(deployments)s::text[]) as d order by d
on conflict (deployment) do update set status = 'cooling', cause = excluded.cause,
  reason = excluded.reason, updated_at = now(),
  trips = case when s.status = 'open' and s.updated_at < now() - %(calm)s * interval '1 second'
    then 1 else least(s.trips + 1, 1000) end,
  until = greatest(s.until, now() + %(jitter)s * interval '1 second' * least(%(longest)s,
    case when s.status = 'open' and s.updated_at < now() - %(calm)s * interval '1 second'
    then %(first)s else %(first)s * 2 ^ least(s.trips, 20) end))
where s.status in ('open', 'probing') or (s.status = 'cooling' and s.cause = 'limits')
returning deployment;

-- name: park
-- Until a known time; a longer pause that stands already is not cut short.
insert into deployment_state as s (deployment, status, cause, reason, until)
select d, 'cooling', %(cause)s, %(reason)s, now() + %(seconds)s * interval '1 second'
from unnest(%(deployments)s::text[]) as d order by d
on conflict (deployment) do update set status = 'cooling', cause = excluded.cause,
  reason = excluded.reason, until = greatest(s.until, excluded.until), updated_at = now()
where s.status in ('open', 'probing')
  or (s.status = 'cooling' and (s.cause = excluded.cause or excluded.cause <> 'limits'))
returning deployment;

-- name: disable
insert into deployment_state as s (deployment, status, cause, reason)
select d, 'disabled', %(cause)s, %(reason)s from unnest(%(deployments)s::text[]) as d order by d
on conflict (deployment) do update set status = 'disabled', cause = excluded.cause,
  reason = excluded.reason, until = null, updated_at = now()
where s.status in ('open', 'probing', 'cooling')
returning deployment;

-- name: heal
update deployment_state set status = 'open', cause = null, reason = '', until = null,
  updated_at = now()
where deployment = any(%(deployments)s::text[]) and status = 'probing'
returning deployment;

-- name: probe
-- Something answers there again: cooling ends early.
update deployment_state set status = 'probing', until = null, updated_at = now()
where deployment = any(%(deployments)s::text[]) and status = 'cooling'
  and cause in ('failures', 'unreachable')
returning deployment;

-- name: pause
-- By an operator, whatever it was before.
insert into deployment_state as s (deployment, status, cause, reason)
select d, 'paused', 'operator', %(reason)s from unnest(%(deployments)s::text[]) as d order by d
on conflict (deployment) do update set status = excluded.status, cause = excluded.cause,
  reason = excluded.reason, until = null, updated_at = now();

-- name: drain
-- By an operator. How it fares with what it has goes on; one that was paused sends again.
insert into deployment_state as s (deployment, drained)
select d, true from unnest(%(deployments)s::text[]) as d order by d
on conflict (deployment) do update set drained = true, updated_at = now(),
  status = case when s.status = 'paused' then 'open' else s.status end,
  cause = case when s.status = 'paused' then null else s.cause end,
  reason = case when s.status = 'paused' then '' else s.reason end;

-- name: resume
update deployment_state set status = 'open', cause = null, reason = '', until = null, trips = 0,
  drained = false, updated_at = now()
where deployment = any(%(deployments)s::text[]) and (status <> 'open' or drained)
returning deployment;

-- name: call_back
-- What others have got because these were closed, and have not sent, stands at the first of these
-- that it may go to, and where it goes is chosen again.
with passed as (
  select c.id, home.name
  from chunks c
  join plans p on p.id = c.plan_id
  cross join lateral (
    select k.name from jsonb_array_elements_text(p.body -> 'candidates')
      with ordinality as k (name, place)
    where k.name = any(%(deployments)s::text[])
      and nullif(c.choice, '')::jsonb -> 'closed' ? k.name
    order by k.place limit 1
  ) home
  where c.status = 'ready' and c.kind = 'call'
  order by c.id for update of c skip locked
)
update chunks c set status = 'planned', deployment = passed.name, reason = %(back)s
from passed where c.id = passed.id;

-- name: unbind
-- Bound and not held by a lane: back to where dispatch finds it. Lanes give back the rest.
with bound as (
  select id from chunks
  where deployment = any(%(deployments)s::text[]) and status in ('ready', 'waiting')
    and kind = 'call'
  order by id for update skip locked
)
update chunks c set status = 'planned', reason = %(back)s from bound where c.id = bound.id;

-- name: due_check
-- Whether it is time for the provider's next check, and ours to make it.
insert into provider_checks as c (provider) values (%(provider)s)
on conflict (provider) do update set checked_at = now()
where c.checked_at <= now() - %(every)s * interval '1 second'
returning failures;

-- name: checked
update provider_checks set failures = case when %(ok)s then 0 else failures + 1 end
where provider = %(provider)s returning failures;
