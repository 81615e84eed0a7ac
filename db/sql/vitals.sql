-- How deployments fare in the processes that call them.

-- name: put
insert into deployment_vitals as v (process_id, deployment, in_flight, answered, failed,
  latency_ms, output_tokens, rate)
select p.id, u.* from processes p, unnest(%(deployments)s::text[], %(in_flights)s::int[],
  %(answereds)s::bigint[], %(faileds)s::bigint[], %(latency_mss)s::real[],
  %(output_tokenss)s::real[], %(rates)s::real[]) as u
where p.id = %(process_id)s
on conflict (deployment, process_id) do update set in_flight = excluded.in_flight,
  answered = excluded.answered, failed = excluded.failed, latency_ms = excluded.latency_ms,
  output_tokens = excluded.output_tokens, rate = excluded.rate, at = now();

-- name: read
-- What a process calls more often counts for more.
select v.deployment, sum(v.in_flight)::int, sum(v.answered)::bigint, sum(v.failed)::bigint,
  (sum(v.latency_ms * greatest(v.rate, 0.01))
    / sum(greatest(v.rate, 0.01)) filter (where v.latency_ms is not null))::float8,
  (sum(v.output_tokens * greatest(v.rate, 0.01))
    / sum(greatest(v.rate, 0.01)) filter (where v.output_tokens is not null))::float8,
  sum(v.rate)::float8
from deployment_vitals v
join processes p on p.id = v.process_id and p.lease_until > now()
group by v.deployment;
