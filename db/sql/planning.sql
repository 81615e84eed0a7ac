-- How the route step takes its chunks and leaves its decisions.

-- name: take
-- Locked, not leased: a route step that dies rolls back and the chunk is there again.
select c.id, c.part, c.round, c.seqs, j.route,
  least(a.limit_nusd, p.limit_nusd), j.project_id, j.kind
from chunks c
join jobs j on j.id = c.job_id
join accounts a on a.id = j.account_id
join accounts p on p.id = j.project_account_id
where c.job_id = %(job_id)s and c.kind = 'route' and c.status = 'ready' and j.stop is null
order by c.id limit 1
for update of c skip locked;

-- name: read
select seq, target, body, wishes, metadata from requests
where part = %(part)s and job_id = %(job_id)s and seq = any(%(seqs)s::int[])
order by seq;

-- name: put_plan
with made as (
  insert into plans (digest, body) values (%(digest)s, %(body)s)
  on conflict (digest) do nothing returning id
)
select id from made union all select id from plans where digest = %(digest)s limit 1;

-- name: put_route
insert into routes (part, job_id, chunk_id, round, seqs, plan_ids, tokens, reasons, model_version,
  candidates, quality, cost, propensity, intents, intent_probability)
values (%(part)s, %(job_id)s, %(chunk_id)s, %(round)s, %(seqs)s, %(plan_ids)s, %(tokens)s,
  %(reasons)s, %(model_version)s, %(candidates)s, %(quality)s, %(cost)s, %(propensity)s,
  %(intents)s, %(intent_probability)s::real[]);

-- name: put_chunk
insert into chunks (job_id, part, round, kind, plan_id, candidate, among, deployment, size, seqs,
  tries, calls, tokens, text_bytes, overheads, outputs, bounds, status)
values (%(job_id)s, %(part)s, %(round)s, %(kind)s, %(plan_id)s, %(candidate)s, %(among)s, %(deployment)s,
  %(size)s, %(seqs)s, array_fill(0::smallint, array[%(size)s]), %(calls)s, %(tokens)s,
  %(text_bytes)s, %(overheads)s, %(outputs)s, %(bounds)s, 'planned');

-- name: calls_made
select seq, max(n) from attempts
where part = %(part)s and job_id = %(job_id)s and seq = any(%(seqs)s::int[])
group by seq;

-- name: refuse
-- A result without a call.
insert into results (part, job_id, seq, round, status, error, commit_id)
select %(part)s, %(job_id)s, u.seq, %(round)s, u.status, u.error, 0
from unnest(%(seqs)s::int[], %(statuses)s::text[], %(errors)s::text[]) as u (seq, status, error)
on conflict do nothing;

-- name: count_refused
insert into job_counters as c (job_id, deployment, writer, failed, out_of_scope,
  needs_clarification)
values (%(job_id)s, '', 0, %(failed)s, %(out_of_scope)s, %(needs_clarification)s)
on conflict (job_id, deployment, writer) do update set failed = c.failed + excluded.failed,
  out_of_scope = c.out_of_scope + excluded.out_of_scope,
  needs_clarification = c.needs_clarification + excluded.needs_clarification, updated_at = now();

-- name: close
update chunks set status = 'done' where id = %(id)s;

-- name: unrouted
-- Jobs whose next free route chunk is not held: chunks are taken in the order of their ids.
select j.id
from jobs j
cross join lateral (
  select id from chunks
  where job_id = j.id and kind = 'route' and status <> 'done' and status = 'ready'
  order by id limit 1
) next
join chunks c on c.id = next.id and c.status = 'ready'
where j.ended_at is null and j.stop is null
  and (%(job_ids)s::bigint[] is null or j.id = any(%(job_ids)s::bigint[]))
limit 100
for update of c skip locked;
