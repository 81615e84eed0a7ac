-- Answers that did not become the result at once, and how they do in the end.

-- name: read
select seq, n, deployment, body, score from replies
where part = %(part)s and job_id = %(job_id)s and round = %(round)s and seq = any(%(seqs)s::int[])
order by seq, n;

-- name: take
-- The best answer of each of these requests (without seqs: of all of the job's) that has no result:
-- the one that is likeliest right where that was told, else the last one, of the dearest step.
with best as (
  select distinct on (seq) part, job_id, seq, n, round, deployment, body, score,
    row_number() over (partition by seq order by n) as step, count(*) over (partition by seq) as steps
  from replies
  where part = %(part)s and job_id = %(job_id)s and round = %(round)s
    and (%(seqs)s::int[] is null or seq = any(%(seqs)s::int[]))
  order by seq, score desc nulls last, n desc
), written as (
  insert into results (part, job_id, seq, round, status, deployment, n, http_status, body,
    commit_id, step)
  select part, job_id, seq, round, 'completed', deployment, n, 200, body, 0,
    json_build_object('step', step, 'steps', steps, 'accepted', false, 'why', %(why)s::text)
  from best on conflict do nothing
  returning job_id, deployment
)
insert into job_counters as c (job_id, deployment, writer, completed)
select job_id, deployment, %(writer)s::bigint, count(*) from written
group by job_id, deployment order by job_id, deployment
on conflict (job_id, deployment, writer) do update set completed = c.completed + excluded.completed,
  updated_at = now();
