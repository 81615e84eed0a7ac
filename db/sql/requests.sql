-- A job's input: rows by COPY, then what only the whole set can tell.

-- name: copy_requests
copy requests (part, job_id, seq, custom_id, row, target, body, metadata, prompt_hash,
  wishes)
from stdin (format binary);

-- name: copy_own_requests
-- Into a partition made in this transaction, and so frozen from the start.
copy {requests} (part, job_id, seq, custom_id, row, target, body, metadata, prompt_hash,
  wishes)
from stdin (format binary, freeze);

-- name: copy_refused
copy results (part, job_id, seq, round, status, error, commit_id) from stdin (format binary);

-- name: no_nested_loops
-- The planner has no statistics of rows copied in the same transaction, takes them for few and
-- joins them by nested loops: 19 s for 5,000 rows.
set local enable_nestloop = off;

-- name: duplicates
-- The later rows of every custom_id that stands there twice, with the row that had it first.
with twice as (
  select q.custom_id, min(q.row) as first
  from requests q
  left join results r on r.part = q.part and r.job_id = q.job_id and r.seq = q.seq
  where q.part = %(part)s and q.job_id = %(job_id)s and r.seq is null
  group by q.custom_id having count(*) > 1
)
select q.row, t.first, q.custom_id
from requests q join twice t on t.custom_id = q.custom_id and q.row > t.first
where q.part = %(part)s and q.job_id = %(job_id)s
order by q.row limit %(limit)s;

-- name: refuse_duplicates
with twice as (
  select q.custom_id, min(q.row) as first
  from requests q
  left join results r on r.part = q.part and r.job_id = q.job_id and r.seq = q.seq
  where q.part = %(part)s and q.job_id = %(job_id)s and r.seq is null
  group by q.custom_id having count(*) > 1
)
insert into results (part, job_id, seq, round, status, error, commit_id)
select q.part, q.job_id, q.seq, 1, 'failed',
  json_build_object('code', 'duplicate_custom_id',
    'message', format('custom_id: %%s was already used on line %%s. Give every line its own',
      to_json(q.custom_id), t.first),
    'line', q.row)::text, 0
from requests q join twice t on t.custom_id = q.custom_id and q.row > t.first
left join results r on r.part = q.part and r.job_id = q.job_id and r.seq = q.seq
where q.part = %(part)s and q.job_id = %(job_id)s and r.seq is null;

-- name: rename_refused
-- Nothing but the refused has a result yet.
with again as (
  select custom_id from requests
  where part = %(part)s and job_id = %(job_id)s
  group by custom_id having count(*) > 1
)
update requests q set custom_id = 'request-' || q.row
from again, results r
where q.part = %(part)s and q.job_id = %(job_id)s and q.custom_id = again.custom_id
  and r.part = q.part and r.job_id = q.job_id and r.seq = q.seq;

-- name: route_chunks
insert into chunks (job_id, part, kind, size, seqs, tries, calls, tokens, bounds, status)
select %(job_id)s, %(part)s, 'route', count(*), array_agg(s.seq order by s.seq),
  array_fill(0::smallint, array[count(*)::int]), array_fill(0::smallint, array[count(*)::int]),
  array_fill(0, array[count(*)::int]), array_fill(0::bigint, array[count(*)::int]), 'ready'
from generate_series(0, %(total)s::int - 1) as s (seq)
left join results r on r.part = %(part)s and r.job_id = %(job_id)s and r.seq = s.seq
where r.seq is null
group by s.seq / %(size)s::int order by s.seq / %(size)s::int;

-- name: handed_in
-- A job just handed in: the lines refused are its only failures so far.
select j.part, j.total, a.limit_nusd, coalesce((
  select sum(failed) from job_counters where job_id = j.id and deployment = ''), 0)::int,
  (select (data ->> 'requests')::int from job_events where job_id = j.id and kind = 'pilot')
from jobs j join accounts a on a.id = j.account_id
where j.project_id = %(project_id)s and j.id = %(job_id)s;

-- name: sample
select q.target, q.body from requests q
where q.part = %(part)s and q.job_id = %(job_id)s and not exists (
  select from results r where r.part = q.part and r.job_id = q.job_id and r.seq = q.seq)
order by q.seq limit %(limit)s;
