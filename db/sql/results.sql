-- A job's results, as lines and as rows, in the order of its input.
--
-- `answered` is what is said of a request: its current result (the highest round's), and the sums
-- over all its calls; where requests of linked jobs answer for it, theirs too. The last call's latency rides in the low half of a number that is ordered by
-- the call's own. Requests of an ended job without a result have the job's outcome.

-- name: job
select id, part, status, total, round, ended_at is not null, exists (
  select from links l where l.job_id = jobs.id and l.kind in ('clarified', 'pilot'))
from jobs where project_id = %(project_id)s and id = %(job_id)s;

-- name: calls
select seq, count(*) as attempts, sum(cost_nusd) as cost, bool_or(cost_nusd is null) as unpriced,
  sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
  max((n::bigint << 32) + latency_ms) & 4294967295 as latency_ms
from {attempts} as made
where part = %(part)s and job_id = %(job_id)s and seq >= b.lo and seq < b.lo + %(size)s
group by seq

-- name: all_attempts
-- Those of the linked requests that answer for the job's own come after them.
(
  select part, job_id, seq, n::int, cost_nusd, input_tokens, output_tokens, latency_ms from attempts
  where part = %(part)s and job_id = %(job_id)s and seq >= b.lo and seq < b.lo + %(size)s
  union all
  select a.part, l.job_id, l.seq, a.n + 100000, a.cost_nusd, a.input_tokens, a.output_tokens,
    a.latency_ms
  from links l
  join attempts a on a.part = %(part)s and a.job_id = l.linked_id and a.seq = l.linked_seq
  where l.job_id = %(job_id)s and l.kind in ('clarified', 'pilot') and l.seq >= b.lo
    and l.seq < b.lo + %(size)s
)

-- name: joined
-- The current results, those of linked requests before the job's own.
select distinct on (seq) * from (
  select seq, round::int, status, deployment, http_status, request_id, body, error, step,
    '' as joined
  from results
  where part = %(part)s and job_id = %(job_id)s and seq >= b.lo and seq < b.lo + %(size)s
  union all
  select l.seq, 100000 + r.round, r.status, r.deployment, r.http_status, r.request_id, r.body,
    r.error, r.step, ',"' || l.kind || '_by":"job_' || l.linked_id || '"'
  from links l
  join results r on r.part = %(part)s and r.job_id = l.linked_id and r.seq = l.linked_seq
  where l.job_id = %(job_id)s and l.kind in ('clarified', 'pilot') and l.seq >= b.lo
    and l.seq < b.lo + %(size)s
) u
order by seq, round desc

-- name: current
select distinct on (seq) * from results
where part = %(part)s and job_id = %(job_id)s and seq >= b.lo and seq < b.lo + %(size)s
order by seq, round desc

-- name: first_round
select * from results
where part = %(part)s and job_id = %(job_id)s and seq >= b.lo and seq < b.lo + %(size)s
  and round = 1

-- name: scored
select exists (select from scores where part = %(part)s and job_id = %(job_id)s);

-- name: scores
coalesce((
  select ',"scores":{' || string_agg(to_json(s.scorer) || ':' || s.value, ',' order by s.scorer) || '}'
  from scores s
  where s.part = q.part and s.job_id = q.job_id and s.seq = q.seq and s.round = r.round), '')

-- name: told
'{"code":' || coalesce((r.error::json -> 'code')::text, 'null')
  || ',"message":' || coalesce((r.error::json -> 'message')::text, '""') || '}'

-- name: asked
-- The question of a request that needs clarification, and the intents that it may have.
case when r.status = 'needs_clarification' then ',"clarify":{"question":'
  || coalesce((r.error::json -> 'question')::text, '""') || ',"options":'
  || coalesce((r.error::json -> 'options')::text, '[]') || '}' else '' end

-- name: lines
-- A block a row: its lines, with a record separator (U+001E, which no JSON has) behind each.
copy (
  select l.lines
  from generate_series(0, %(last)s::int, %(size)s::int) as b (lo)
  cross join lateral (
    select string_agg('{"id":"batch_req_' || q.job_id || '_' || q.seq
    || '","custom_id":' || to_json(q.custom_id)
    || case
      when r.body is not null then ',"response":{"status_code":' || coalesce(r.http_status, 200)
        || ',"request_id":' || to_json(coalesce(r.request_id, '')) || ',"body":' || r.body
        || '},"error":'
        || case when r.status = 'failed' and r.http_status < 400 then {told} else 'null' end
      when r.error is not null then ',"response":null,"error":' || {told}
      else ',"response":null,"error":' || %(implied)s::text
    end
    || ',"batchyard":{"status":"' || coalesce(r.status, %(outcome)s)
    || '","deployment":' || coalesce(to_json(nullif(r.deployment, ''))::text, 'null')
    || ',"route":' || to_json(q.target)
    || ',"attempts":' || coalesce(a.attempts, 0)
    || ',"cost_usd":' || case
      when a.unpriced then 'null'
      else '"' || trim_scale(coalesce(a.cost, 0) * 0.000000001) || '"'
    end
    || ',"usage":' || case
      when a.input_tokens is null then 'null'
      else '{"input_tokens":' || a.input_tokens
        || ',"output_tokens":' || coalesce(a.output_tokens, 0) || '}'
    end
    || ',"latency_ms":' || coalesce(a.latency_ms::text, 'null')
    || {by} || {asked}
    || case when r.step is null then '' else ',"cascade":' || r.step end
    || {scores}
    || case when q.metadata is null then '' else ',"metadata":' || q.metadata end
    || '}}' || e'\x1e', '' order by q.seq) as lines
    from requests q
    left join ({results}) r on r.seq = q.seq
    left join ({calls}) a on a.seq = q.seq
    where q.part = %(part)s and q.job_id = %(job_id)s and q.seq >= b.lo
      and q.seq < b.lo + %(size)s and (%(ended)s or r.seq is not null)
  ) l
  where l.lines is not null
) to stdout (format binary);

-- name: rows
-- A block a row: of each request the columns before the text, the body that has it, the columns
-- behind it, and the error.
copy (
  select l.heads, l.bodies, l.tails, l.errors
  from generate_series(0, %(last)s::int, %(size)s::int) as b (lo)
  cross join lateral (
    select
      array_agg('"' || replace(q.custom_id, '"', '""') || '",' || coalesce(r.status, %(outcome)s)
        order by q.seq) as heads,
      array_agg(case when coalesce(r.http_status, 200) < 400 then r.body end order by q.seq)
        as bodies,
      array_agg(',"' || replace(coalesce(r.deployment, ''), '"', '""') || '",'
        || coalesce(a.attempts, 0) || ',' || case
          when a.unpriced then '' else trim_scale(coalesce(a.cost, 0) * 0.000000001)::text
        end
        || ',' || coalesce(a.input_tokens::text, '') || ',' || coalesce(a.output_tokens::text, '')
        || ',' || coalesce(a.latency_ms::text, '') || ',' order by q.seq) as tails,
      array_agg(coalesce(r.error, case when r.seq is null then %(implied)s end) order by q.seq)
        as errors
    from requests q
    left join ({results}) r on r.seq = q.seq
    left join ({calls}) a on a.seq = q.seq
    where q.part = %(part)s and q.job_id = %(job_id)s and q.seq >= b.lo
      and q.seq < b.lo + %(size)s and (%(ended)s or r.seq is not null)
  ) l
  where l.heads is not null
) to stdout (format binary);

-- name: usual_size
-- Bytes of an answer, by a few hundred of them from all over the job.
select coalesce(avg(octet_length(body)), 0)::int from results
where part = %(part)s and job_id = %(job_id)s
  and seq = any(array(select s * greatest(%(last)s::int / 256, 1) from generate_series(0, 256) s));

-- name: in_order
-- Everything comes from the primary keys in the order of seq: nothing is sorted, hashed or held.
select set_config(name, value, true) from (values
  ('enable_hashjoin', 'off'), ('enable_seqscan', 'off'), ('enable_bitmapscan', 'off'),
  ('enable_sort', 'off'), ('max_parallel_workers_per_gather', '0')) as s (name, value);
