-- Dispatch: which planned chunks are bound now, and how many tickets a provider needs.

-- name: take_turn
-- One dispatch at a time in the whole yard, whoever runs it: a choice may span providers.
select id from dispatches where id = 1 for update skip locked;

-- name: stamp
update dispatches set at = now() where id = 1;

-- name: work
-- What is bound to each deployment, all of it and what is due, and what lanes hold and have not
-- sent. The last column: whether a deployment's cooling is over and its row does not say so yet.
select u.deployment, coalesce(bound.total, 0), coalesce(bound.due, 0), coalesce(held.unsent, 0),
  exists (select from deployment_state s
    where s.deployment = u.deployment and s.status = 'cooling' and s.until <= now())
from unnest(%(deployments)s::text[]) as u (deployment)
cross join lateral (
  select sum(c.size)::bigint as total,
    sum(c.size) filter (where c.not_before <= now())::bigint as due
  from chunks c
  where c.deployment = u.deployment and c.status in ('ready', 'waiting') and c.kind = 'call'
) bound
left join (
  select deployment, sum(size - sent)::bigint as unsent from chunks
  where status = 'leased' and kind = 'call' group by deployment
) held using (deployment);

-- name: planned
-- Where planned chunks stand and by which plans, each pair found by one step through the index.
-- Those that stand nowhere wait for the plan of their whole job.
with recursive pairs as (
  (select deployment, plan_id from chunks where status = 'planned' and deployment > ''
    order by deployment, plan_id limit 1)
  union all
  select n.deployment, n.plan_id
  from pairs p
  cross join lateral (
    select deployment, plan_id from chunks
    where status = 'planned' and (deployment, plan_id) > (p.deployment, p.plan_id)
    order by deployment, plan_id limit 1
  ) n
)
select pairs.deployment, plans.id, plans.body
from pairs join plans on plans.id = pairs.plan_id
order by pairs.deployment, plans.id;

-- name: weigh
-- Mean tokens in, and mean limit of tokens out, of the chunks' requests.
select id, (select avg(t) from unnest(tokens) as t)::float8,
  (select avg(t) from unnest(outputs) as t)::float8
from chunks where id = any(%(ids)s::bigint[]);

-- name: waiting_means
-- Mean tokens in, and mean limit of tokens out, of a few chunks that wait at each deployment, and
-- where none do, of a few that wait anywhere: it may be somebody's next candidate.
select u.deployment, avg(t.tokens)::float8, avg(t.outputs)::float8
from unnest(%(deployments)s::text[]) as u (deployment)
cross join lateral (
  (select tokens, outputs from chunks
    where deployment = u.deployment and status = 'planned' limit 3)
  union all
  (select tokens, outputs from chunks
    where deployment = u.deployment and status in ('ready', 'waiting') and kind = 'call' limit 3)
  union all
  (select tokens, outputs from chunks where status = 'planned' and deployment > '' limit 3)
  limit 3
) c
cross join lateral unnest(c.tokens, c.outputs) as t (tokens, outputs)
group by u.deployment;

-- name: sizes
select id, tokens, text_bytes, overheads, outputs from chunks
where id = any(%(ids)s::bigint[]);

-- name: bind
-- What was paused meanwhile stays; what waits for its time at the same deployment goes on waiting.
-- Where they go is given once for all that go there alike; bounds, as arrays in text, only where
-- they change.
update chunks c set candidate = p.candidate, deployment = p.deployment, choice = p.choice,
  reason = case when c.deployment = p.deployment and c.not_before > now() then c.reason
    else '' end,
  turn = u.turn, crowd = u.crowd, bounds = coalesce(b.bounds::bigint[], c.bounds),
  not_before = case when c.deployment = p.deployment then greatest(c.not_before, now())
    else now() end,
  status = case when c.deployment = p.deployment and c.not_before > now() then 'waiting'
    else 'ready' end
from unnest(%(ids)s::bigint[], %(places)s::bigint[], %(turns)s::float8[], %(crowds)s::float8[])
  as u (id, place, turn, crowd)
join unnest(%(candidates)s::smallint[], %(deployments)s::text[], %(choices)s::text[])
  with ordinality as p (candidate, deployment, choice, place) using (place)
left join unnest(%(bounded)s::bigint[], %(bounds)s::text[]) as b (id, bounds) on b.id = u.id
where c.id = u.id and c.status = 'planned';

-- name: new_ids
select nextval(pg_get_serial_sequence('chunks', 'id')) from generate_series(1, %(count)s);

-- name: split
-- Cuts pieces off the beginnings of planned chunks; each is a planned chunk of its own.
with pieces as (
  select u.id as piece, u.first, u.last, c.*
  from unnest(%(ids)s::bigint[], %(parents)s::bigint[], %(firsts)s::int[], %(lasts)s::int[])
    as u (id, parent, first, last)
  join chunks c on c.id = u.parent and c.status = 'planned'
  for update of c
)
insert into chunks (id, job_id, part, round, kind, mode, plan_id, candidate, came_from, excluded,
  among, deployment, size, seqs, tries, calls, tokens, text_bytes, overheads, outputs, bounds,
  status, not_before, reason)
overriding system value
select piece, job_id, part, round, kind, mode, plan_id, candidate, came_from, excluded, among,
  deployment, last - first + 1, seqs[first:last], tries[first:last], calls[first:last],
  tokens[first:last], text_bytes[first:last], overheads[first:last], outputs[first:last],
  bounds[first:last], 'planned', not_before, reason
from pieces;

-- name: trim
-- Takes the pieces from what they were cut off.
update chunks c set size = c.size - u.cut, seqs = seqs[u.cut + 1:], tries = tries[u.cut + 1:],
  calls = calls[u.cut + 1:], tokens = tokens[u.cut + 1:], text_bytes = text_bytes[u.cut + 1:],
  overheads = overheads[u.cut + 1:], outputs = outputs[u.cut + 1:], bounds = bounds[u.cut + 1:]
from (select parent, max(last) as cut
  from unnest(%(parents)s::bigint[], %(lasts)s::int[]) as v (parent, last) group by parent) u
where c.id = u.parent and c.status = 'planned';

-- name: stuck
-- What is bound to some deployments for so many seconds or longer, and unsent: of each kind (what
-- decides where a chunk may go) how long the first has been due, and the smallest.
with bound as (
  select c.plan_id, c.candidate, c.excluded, c.among,
    a.limit_nusd is not null or p.limit_nusd is not null as limited,
    min(c.not_before) as since, min(c.size) as size
  from chunks c
  join jobs j on j.id = c.job_id
  join accounts a on a.id = j.account_id
  join accounts p on p.id = j.project_account_id
  where c.deployment = any(%(deployments)s::text[]) and c.status in ('ready', 'waiting')
    and c.kind = 'call' and j.stop is null
    and (%(seconds)s::float8 = 0 or c.not_before < now() - %(seconds)s * interval '1 second')
  group by 1, 2, 3, 4, 5
)
select plans.body, b.plan_id, b.candidate, b.excluded, b.among, b.limited,
  extract(epoch from now() - b.since)::float8, b.size
from bound b join plans on plans.id = b.plan_id;

-- name: lock_stuck
-- Of the kinds that can go elsewhere those that have waited for longest.
select k.place, c.id, extract(epoch from now() - c.not_before)::float8, c.size
from unnest(%(places)s::int[], %(plans)s::bigint[], %(candidates)s::smallint[],
  %(excluded)s::bigint[], %(among)s::text[], %(limited)s::bool[])
  as k (place, plan_id, candidate, excluded, among, limited)
join chunks c on c.plan_id = k.plan_id and c.candidate = k.candidate
  and c.excluded = k.excluded and c.among = k.among
join jobs j on j.id = c.job_id
join accounts a on a.id = j.account_id
join accounts p on p.id = j.project_account_id
where c.deployment = any(%(deployments)s::text[]) and c.status in ('ready', 'waiting')
  and c.kind = 'call' and j.stop is null
  and (a.limit_nusd is not null or p.limit_nusd is not null) = k.limited
  and (%(seconds)s::float8 = 0 or c.not_before < now() - %(seconds)s * interval '1 second')
order by c.not_before, c.id limit %(most)s
for update of c skip locked;

-- name: latest
-- What is bound to a deployment and due, and has the last turns there. Nothing is locked: lanes
-- may claim all of it meanwhile.
select plans.body, c.plan_id, c.candidate, c.excluded, c.among,
  a.limit_nusd is not null or p.limit_nusd is not null,
  extract(epoch from now() - c.not_before)::float8, c.size, c.id
from chunks c
join jobs j on j.id = c.job_id
join accounts a on a.id = j.account_id
join accounts p on p.id = j.project_account_id
join plans on plans.id = c.plan_id
where c.deployment = %(deployment)s and c.status in ('ready', 'waiting') and c.kind = 'call'
  and c.not_before <= now() and j.stop is null
order by c.turn desc limit %(most)s;

-- name: unbind
-- They stand where they did, and where they go is chosen again; those that were due have been so
-- for as long as they have.
update chunks set status = 'planned', not_before = least(not_before, now()), reason = %(reason)s
where id = any(%(ids)s::bigint[]) and status in ('ready', 'waiting');

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
