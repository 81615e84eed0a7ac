-- Linked jobs: they share their parent's account, part, project, weight and deadline.

-- name: put_job
insert into jobs (id, project_id, account_id, project_account_id, part, kind, parent_id, name,
  status, route, total, source, config_digest, weight, deadline, paused, in_progress_at)
overriding system value
select %(job_id)s, project_id, account_id, project_account_id, part, %(kind)s, id, name,
  'in_progress', %(route)s, %(total)s, %(source)s, %(config_digest)s, weight,
  coalesce(%(deadline)s, deadline), paused, clock_timestamp()
from jobs where id = %(parent_id)s;

-- name: parent
-- Locked, so that one at a time links to it.
select id, part, status, stop, total, round, route, parent_id,
  coalesce(deadline <= now(), false) as overdue
from jobs where project_id = %(project_id)s and id = %(job_id)s for no key update;

-- name: put_links
insert into links (job_id, kind, seq, linked_id, linked_seq)
select %(parent_id)s, %(kind)s, u.seq, %(job_id)s, u.linked_seq
from unnest(%(seqs)s::int[], %(linked_seqs)s::int[]) as u (seq, linked_seq)
on conflict (job_id, kind, seq) do update
  set linked_id = excluded.linked_id, linked_seq = excluded.linked_seq;

-- name: put_requests
-- Copies of requests of the parent, as far as they are not given anew.
insert into requests (part, job_id, seq, custom_id, row, target, body, metadata, prompt_hash,
  wishes)
select %(part)s, %(job_id)s, %(first)s + u.i - 1, u.custom_id, u.row, u.target, u.body,
  u.metadata, u.prompt_hash, u.wishes
from unnest(%(custom_ids)s::text[], %(rows)s::int[], %(targets)s::text[], %(bodies)s::text[],
  %(metadata)s::text[], %(hashes)s::bytea[], %(wishes)s::text[])
  with ordinality as u (custom_id, row, target, body, metadata, prompt_hash, wishes, i);

-- name: questions
-- What waits for an answer: the present question of each request that needs one, in order, with
-- the request that it was asked about. An answer that was sent on counts as soon as it is; one
-- whose job ended without a result for it is asked for again.
select r.seq, q.custom_id, q.row, coalesce(again.target, q.target), coalesce(again.body, q.body),
  coalesce(again.metadata, q.metadata), coalesce(again.wishes, q.wishes),
  coalesce(lr.error, r.error)
from (
  select distinct on (seq) seq, status, error from results
  where part = %(part)s and job_id = %(job_id)s order by seq, round desc
) r
join requests q on q.part = %(part)s and q.job_id = %(job_id)s and q.seq = r.seq
left join links l on l.job_id = %(job_id)s and l.kind = 'clarified' and l.seq = r.seq
left join jobs linked on linked.id = l.linked_id
left join lateral (
  select status, error from results
  where part = %(part)s and job_id = l.linked_id and seq = l.linked_seq
  order by round desc limit 1
) lr on true
left join requests again on again.part = %(part)s and again.job_id = l.linked_id
  and again.seq = l.linked_seq and lr.status = 'needs_clarification'
where r.status = 'needs_clarification' and (l.seq is null
  or lr.status = 'needs_clarification' or (lr.status is null and linked.ended_at is not null))
order by r.seq;

-- name: clarified
-- How the answers of those that were clarified came out.
select coalesce(r.status, case when linked.ended_at is null then 'open' else linked.status end),
  count(*)
from links l
join jobs linked on linked.id = l.linked_id
left join lateral (
  select status from results
  where part = %(part)s and job_id = l.linked_id and seq = l.linked_seq
  order by round desc limit 1
) r on true
where l.job_id = %(job_id)s and l.kind = 'clarified'
group by 1 order by 1;

-- name: growing
-- The parent's linked job of a kind that takes more requests, locked, with how many it has.
select id, total from jobs
where parent_id = %(parent_id)s and kind = %(kind)s and ended_at is null and stop is null
order by id limit 1 for no key update;

-- name: grow
update jobs set total = total + %(more)s where id = %(job_id)s;

-- name: put_route_chunk
insert into chunks (job_id, part, kind, size, seqs, tries, calls, tokens, bounds, status)
select %(job_id)s, %(part)s, 'route', count(*), array_agg(s.seq order by s.seq),
  array_fill(0::smallint, array[count(*)::int]), array_fill(0::smallint, array[count(*)::int]),
  array_fill(0, array[count(*)::int]), array_fill(0::bigint, array[count(*)::int]), 'ready'
from generate_series(%(first)s::int, %(first)s::int + %(count)s::int - 1) as s (seq);

-- name: hold_back
-- The route chunk waits for the linked job of that kind.
update chunks set status = 'waiting', reason = %(kind)s where id = %(chunk_id)s;

-- name: let_answered_go
-- Route chunks whose own requests' intents have all been told need not wait for the others'. Looked
-- at are the first few of each job: questions are asked in about the same order.
with held as (
  select c.id, c.job_id, c.part, c.seqs,
    row_number() over (partition by c.job_id order by c.id) as place
  from chunks c join jobs j on j.id = c.job_id
  where c.kind = 'route' and c.status = 'waiting' and c.reason = %(kind)s
    and j.ended_at is null and j.stop is null
), answered as (
  select c.id from chunks c join held on held.id = c.id
  where held.place <= %(most)s and c.status = 'waiting' and not exists (
    select from links l
    where l.job_id = held.job_id and l.kind = %(kind)s and l.seq = any(held.seqs)
      and not exists (select from results r
        where r.part = held.part and r.job_id = l.linked_id and r.seq = l.linked_seq))
  for update of c skip locked
)
update chunks c set status = 'ready', reason = '', not_before = now()
from answered where c.id = answered.id;

-- name: said
-- What was asked for these requests in linked jobs of a kind: the answer's body, null where there
-- is none.
select l.seq, r.body
from links l
left join lateral (
  select body from results
  where part = %(part)s and job_id = l.linked_id and seq = l.linked_seq and status = 'completed'
  order by round desc limit 1
) r on true
where l.job_id = %(job_id)s and l.kind = %(kind)s and l.seq = any(%(seqs)s::int[]);
