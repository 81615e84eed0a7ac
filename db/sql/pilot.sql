-- A pilot: a linked job that asks every candidate some of its parent's requests.

-- name: pool
-- Requests of a target, by lot, in the order of the input; what was refused is none.
with drawn as (
  select q.seq from requests q
  where q.part = %(part)s and q.job_id = %(job_id)s and q.target = %(target)s and not exists (
    select from results r where r.part = q.part and r.job_id = q.job_id and r.seq = q.seq)
  order by hashint4(q.seq # %(seed)s::int), q.seq limit %(limit)s
)
select q.seq, q.custom_id, q.body, q.metadata
from drawn d join requests q on q.part = %(part)s and q.job_id = %(job_id)s and q.seq = d.seq
order by q.seq;

-- name: hold_back
update chunks set status = 'waiting', reason = 'pilot'
where job_id = %(job_id)s and kind = 'route' and status = 'ready';

-- name: due
-- Parents that wait for a pilot that is over and scored.
select distinct p.id from jobs p
join jobs l on l.parent_id = p.id and l.kind = 'pilot' and l.ended_at is not null
where p.ended_at is null and p.stop is null and exists (
    select from chunks c where c.job_id = p.id and c.kind = 'route' and c.status = 'waiting'
      and c.reason = 'pilot')
  and not exists (select from jobs o left join scorings s on s.job_id = o.id and not s.done
    where o.parent_id = p.id and o.kind = 'pilot'
      and (o.ended_at is null or s.job_id is not null))
order by p.id limit 100;

-- name: over
select p.project_id, p.part, p.route, l.id, coalesce((
  select data ->> 'gold' from job_events
  where job_id = p.id and kind = 'pilot' order by id desc limit 1), '')
from jobs p join jobs l on l.parent_id = p.id and l.kind = 'pilot' and l.ended_at is not null
where p.id = %(job_id)s and p.stop is null
  and not exists (select from scorings s where s.job_id = l.id and not s.done)
  and exists (
  select from chunks c where c.job_id = p.id and c.kind = 'route' and c.status = 'waiting'
    and c.reason = 'pilot')
order by l.id desc limit 1;

-- name: alone
-- Until the end of the transaction nobody else learns of this pilot.
select pg_try_advisory_xact_lock(%(room)s, %(job_id)s::bigint::int);

-- name: hold
select from jobs where id = %(job_id)s for no key update;

-- name: answers
-- By request and candidate: what was asked and answered, and what the answer cost (null: unknown)
-- and is worth.
select q.row - 1, q.seq, q.target, q.body, q.metadata, coalesce(r.status = 'completed', false),
  coalesce(r.body, ''),
  (select avg(s.value) from scores s where s.part = q.part and s.job_id = q.job_id
    and s.seq = q.seq and s.round = r.round),
  (select case when bool_or(a.cost_nusd is null) then null else sum(a.cost_nusd) end::bigint
    from attempts a where a.part = q.part and a.job_id = q.job_id and a.seq = q.seq)
from requests q
left join lateral (
  select status, round, body from results
  where part = q.part and job_id = q.job_id and seq = q.seq order by round desc limit 1
) r on true
where q.part = %(part)s and q.job_id = %(pilot_id)s
order by q.seq;

-- name: take_answers
-- Answers of the pilot become results of the parent, without a call of its own.
with taken as (
  select * from unnest(%(seqs)s::int[], %(linked_seqs)s::int[]) as u (seq, linked_seq)
), linked as (
  insert into links (job_id, kind, seq, linked_id, linked_seq)
  select %(job_id)s, 'pilot', seq, %(pilot_id)s, linked_seq from taken
), written as (
  insert into results (part, job_id, seq, round, status, deployment, http_status, request_id, body,
    commit_id)
  select r.part, %(job_id)s, t.seq, 1, r.status, r.deployment, r.http_status, r.request_id, r.body, 0
  from taken t
  cross join lateral (
    select * from results
    where part = %(part)s and job_id = %(pilot_id)s and seq = t.linked_seq
    order by round desc limit 1
  ) r
  returning deployment
)
insert into job_counters as c (job_id, deployment, writer, completed)
select %(job_id)s, deployment, 0, count(*) from written group by deployment order by deployment
on conflict (job_id, deployment, writer) do update
  set completed = c.completed + excluded.completed, updated_at = now();

-- name: let_go
-- The rest is routed.
with kept as (
  select c.id, coalesce(array_agg(u.seq order by u.i) filter (where r.seq is null), '{}') as seqs
  from chunks c
  cross join lateral unnest(c.seqs) with ordinality as u (seq, i)
  left join results r on r.part = c.part and r.job_id = c.job_id and r.seq = u.seq
  where c.job_id = %(job_id)s and c.kind = 'route' and c.status = 'waiting' and c.reason = 'pilot'
  group by c.id
)
update chunks c set seqs = kept.seqs, size = cardinality(kept.seqs),
  tries = c.tries[1:cardinality(kept.seqs)], calls = c.calls[1:cardinality(kept.seqs)],
  tokens = c.tokens[1:cardinality(kept.seqs)], bounds = c.bounds[1:cardinality(kept.seqs)],
  status = case when cardinality(kept.seqs) = 0 then 'done' else 'ready' end, reason = '',
  not_before = now()
from kept where c.id = kept.id;

-- name: lesson
select data ->> 'message' from job_events
where job_id = %(job_id)s and kind in ('pilot_learned', 'pilot_failed') order by id desc limit 1;
