-- The conservation law from raw rows, job by job. Every statement but `jobs` and `facts` yields
-- what it finds as (job_id, law, what); `{entries}` stands for the fragment of that name.

-- name: jobs
-- Jobs that share an account stand together: only all of them explain its lines.
select part, array_agg(id order by id) from jobs
where project_id = %(project_id)s and status <> 'validating'
  and (%(job_id)s::bigint is null or account_id = (
    select account_id from jobs where project_id = %(project_id)s and id = %(job_id)s))
group by part, account_id order by part, account_id;

-- name: entries
-- Where requests stand: the entries of open chunks, less those that have had their attempt.
intended as (
  select c.job_id, c.id as chunk_id, c.status, c.round, e.seq, e.calls, e.bound,
    c.status = 'leased' and e.i <= c.sent as sent
  from chunks c
  cross join lateral unnest(c.seqs, c.calls, c.bounds)
    with ordinality as e (seq, calls, bound, i)
  where c.job_id = any(%(ids)s::bigint[]) and c.status <> 'done'
), entries as (
  select i.* from intended i
  where not i.sent or not exists (
    select from attempts a
    where a.part = %(part)s and a.job_id = i.job_id and a.seq = i.seq and a.n = i.calls + 1)
)

-- name: standing
-- Every request in one place. The words of `outcomes` are facts and no violations.
with {entries}, places as (
  select job_id, seq, count(*) as places, max(round) as round from entries group by 1, 2
), ended as (
  select distinct on (job_id, seq) job_id, seq, round, status
  from results where part = %(part)s and job_id = any(%(ids)s::bigint[])
  order by job_id, seq, round desc
), asked as (
  select job_id, seq from requests where part = %(part)s and job_id = any(%(ids)s::bigint[])
), stands as (
  select job_id, seq, asked.job_id is not null as known, coalesce(p.places, 0) as places,
    p.round as open_round, r.round as round, r.status as result
  from asked
  full join places p using (job_id, seq)
  full join ended r using (job_id, seq)
)
select s.job_id, l.law, case when l.law <> all(%(outcomes)s::text[]) then
    format('request %%s stands in %%s open chunk entries and has %%s', s.seq, s.places,
      coalesce('the result ' || s.result, 'no result')) end as what
from stands s join jobs j on j.id = s.job_id
cross join lateral (select case
    when not s.known then 'request_unknown'
    when s.places > 1 then 'request_twice'
    when s.places = 1 and s.result is not null and s.round >= s.open_round then 'request_twice'
    when s.places = 1 then 'open'
    when s.result is not null then s.result
    when j.status = 'completed' then 'job_incomplete'
    when j.stop is not null then j.stop
    else 'request_lost'
  end as law) l;

-- name: numbered
-- As many requests as the job counts, numbered from 0.
select j.id as job_id, 'request_missing' as law,
  format('the job counts %%s requests and has %%s, numbered %%s to %%s', j.total,
    coalesce(q.requests, 0), q.first, q.last) as what
from jobs j
left join (
  select job_id, count(*) as requests, min(seq) as first, max(seq) as last
  from requests where part = %(part)s and job_id = any(%(ids)s::bigint[]) group by 1
) q on q.job_id = j.id
where j.id = any(%(ids)s::bigint[]) and j.total > 0
  and (q.requests is null or q.requests <> j.total or q.first <> 0 or q.last <> j.total - 1);

-- name: chunks
select c.job_id, 'chunk_broken' as law,
  format('chunk %%s (%%s): its lists differ in length or its cursor stands at %%s', c.id, c.status,
    c.sent) as what
from chunks c
where c.job_id = any(%(ids)s::bigint[]) and (
  array_length(c.seqs, 1) is distinct from nullif(c.size, 0)
  or array_length(c.tries, 1) is distinct from nullif(c.size, 0)
  or array_length(c.calls, 1) is distinct from nullif(c.size, 0)
  or array_length(c.tokens, 1) is distinct from nullif(c.size, 0)
  or array_length(c.bounds, 1) is distinct from nullif(c.size, 0)
  or (c.sent <> 0 and c.status in ('planned', 'ready', 'waiting')))
union all
select c.job_id, 'chunk_open_after_end',
  format('chunk %%s with %%s requests is %%s', c.id, c.size, c.status)
from chunks c join jobs j on j.id = c.job_id
where c.job_id = any(%(ids)s::bigint[]) and j.ended_at is not null and c.status <> 'done';

-- name: steps
-- An entry knows how many calls its request has had.
with {entries}, made as (
  select job_id, seq, max(n) as n from attempts
  where part = %(part)s and job_id = any(%(ids)s::bigint[]) group by 1, 2
)
select e.job_id, 'entry_out_of_step' as law,
  format('request %%s: chunk %%s counts %%s calls, there are %%s', e.seq, e.chunk_id, e.calls,
    coalesce(m.n, 0)) as what
from entries e left join made m using (job_id, seq)
where e.calls <> coalesce(m.n, 0);

-- name: results
-- A result comes from its request's last call and stands under that call's commit. It may be an
-- earlier answer of a cascade, which was kept; and stand under none, where no further call came.
select r.job_id, 'result_twice' as law,
  format('request %%s has %%s results of round %%s', r.seq, count(*), r.round) as what
from results r
where r.part = %(part)s and r.job_id = any(%(ids)s::bigint[])
group by r.job_id, r.seq, r.round having count(*) > 1
union all
select r.job_id, 'result_twice',
  format('request %%s has a result of round %%s, which the job has not begun', r.seq, r.round)
from results r join jobs j on j.id = r.job_id
where r.part = %(part)s and r.job_id = any(%(ids)s::bigint[]) and r.round not between 1 and j.round
union all
select r.job_id, 'winner_missing',
  format('request %%s: its result %%s comes from call %%s to %%s, which %%s', r.seq, r.status,
    r.n, r.deployment, coalesce('went to ' || a.deployment || ' and is ' || a.status,
      'is not there'))
from results r
left join attempts a
  on a.part = r.part and a.job_id = r.job_id and a.seq = r.seq and a.n = r.n
left join attempts l
  on l.part = r.part and l.job_id = r.job_id and l.seq = r.seq and l.commit_id = r.commit_id
left join replies k
  on k.part = r.part and k.job_id = r.job_id and k.seq = r.seq and k.n = r.n
where r.part = %(part)s and r.job_id = any(%(ids)s::bigint[]) and case
  when r.n = 0 and r.status = 'completed' then r.commit_id <> 0 or not exists (
    select from links l join results o
      on o.part = r.part and o.job_id = l.linked_id and o.seq = l.linked_seq
    where l.job_id = r.job_id and l.seq = r.seq and l.kind = 'pilot' and o.status = r.status
      and o.deployment = r.deployment and o.body = r.body)
  when r.n = 0 then r.commit_id <> 0
  else a.n is null or a.deployment <> r.deployment or a.round <> r.round
    or (l.n is null and r.commit_id <> 0) or (a.commit_id <> r.commit_id and k.n is null)
    or (r.status = 'completed') <> (a.status = 'ok') end;

-- name: attempts
-- An answer is its request's result, or it was kept.
select a.job_id, 'attempt_gap' as law,
  format('request %%s has %%s attempts, numbered %%s to %%s', a.seq, count(*), min(a.n),
    max(a.n)) as what
from attempts a
where a.part = %(part)s and a.job_id = any(%(ids)s::bigint[])
group by a.job_id, a.seq having min(a.n) <> 1 or max(a.n) <> count(*)
union all
select a.job_id, 'request_unknown', format('call %%s of request %%s, which is not there', a.n, a.seq)
from attempts a
where a.part = %(part)s and a.job_id = any(%(ids)s::bigint[]) and not exists (
  select from requests q where q.part = %(part)s and q.job_id = a.job_id and q.seq = a.seq)
union all
select a.job_id, case
    when a.n > case when r.n > 0 and r.commit_id = 0 then a.n else coalesce(l.n, r.n) end
    then 'call_after_result' else 'answer_lost' end,
  format('call %%s of request %%s is %%s, its result is of call %%s', a.n, a.seq, a.status, r.n)
from attempts a join jobs j on j.id = a.job_id
left join results r
  on r.part = a.part and r.job_id = a.job_id and r.seq = a.seq and r.round = a.round
left join attempts l
  on l.part = r.part and l.job_id = r.job_id and l.seq = r.seq and l.commit_id = r.commit_id
left join replies k
  on k.part = a.part and k.job_id = a.job_id and k.seq = a.seq and k.n = a.n
where a.part = %(part)s and a.job_id = any(%(ids)s::bigint[])
  and (a.n > case when r.n > 0 and r.commit_id = 0 then a.n else coalesce(l.n, r.n) end
    or (a.status = 'ok' and k.n is null and (r.seq is null or r.n <> a.n))
    or (a.status = 'ok' and r.seq is null and j.ended_at is not null))
union all
select a.job_id, 'bill_above_bound',
  format('call %%s of request %%s to %%s cost %%s nano-dollars, its bound was %%s', a.n, a.seq,
    a.deployment, a.cost_nusd, a.bound_nusd)
from attempts a
where a.part = %(part)s and a.job_id = any(%(ids)s::bigint[]) and a.cost_nusd > a.bound_nusd
  and (a.unbooked_nusd is distinct from 0)
union all
select a.job_id, 'cost_wrong',
  format('call %%s of request %%s is %%s: it cost %%s nano-dollars, its bound was %%s', a.n, a.seq,
    a.status, a.cost_nusd, a.bound_nusd)
from attempts a
where a.part = %(part)s and a.job_id = any(%(ids)s::bigint[])
  and (a.cost_nusd < 0 or a.bound_nusd < 0
    or (a.status = 'unknown' and coalesce(a.cost_nusd, a.bound_nusd) <> a.bound_nusd));

-- name: replies
-- At most one of a call, none that no answered call brought, and none of what is the result at once.
select k.job_id, 'reply_twice' as law,
  format('call %%s of request %%s has %%s kept answers', k.n, k.seq, count(*)) as what
from replies k
where k.part = %(part)s and k.job_id = any(%(ids)s::bigint[])
group by k.job_id, k.seq, k.n having count(*) > 1
union all
select k.job_id, 'reply_astray',
  format('request %%s: an answer of call %%s to %%s is kept, which %%s', k.seq, k.n, k.deployment,
    case when a.n is null then 'is not there' when r.n = k.n then 'is the result'
      else 'went to ' || a.deployment || ' and is ' || a.status end)
from replies k
left join attempts a
  on a.part = k.part and a.job_id = k.job_id and a.seq = k.seq and a.n = k.n
left join results r
  on r.part = k.part and r.job_id = k.job_id and r.seq = k.seq and r.round = k.round
    and r.n = k.n and r.commit_id = a.commit_id
where k.part = %(part)s and k.job_id = any(%(ids)s::bigint[])
  and (a.n is null or a.deployment <> k.deployment or a.round <> k.round or a.status <> 'ok'
    or r.n is not null);

-- name: commits
-- Each attempt in one settle line of its job's account, by its commit. A call that was in doubt
-- stood there at its bound; what it truly cost came later, as an adjust line. Jobs that share an
-- account are told as the first of them.
with holders as (
  select account_id, min(id) as job_id from jobs where id = any(%(ids)s::bigint[]) group by 1
), called as (
  select h.job_id, a.commit_id, count(*) as attempts, sum(bound_nusd) as bounds,
    sum(case when a.status in ('late', 'resolved') then bound_nusd else coalesce(cost_nusd, 0) end)
      as settle
  from attempts a
  join jobs j on j.id = a.job_id
  join holders h on h.account_id = j.account_id
  where a.part = %(part)s and a.job_id = any(%(ids)s::bigint[])
  group by 1, 2
), booked as (
  select h.job_id, l.commit_id,
    sum(l.amount_nusd) filter (where l.kind = 'settle') as settle,
    coalesce(sum(l.amount_nusd) filter (where l.kind = 'release'), 0) as release,
    coalesce(sum(l.amount_nusd) filter (where l.kind = 'reserve'), 0) as reserve
  from holders h join ledger l on l.account_id = h.account_id
  group by 1, 2
), compared as (
  select job_id, commit_id, coalesce(c.attempts, 0) as attempts, coalesce(c.bounds, 0) as bounds,
    coalesce(c.settle, 0) as costs, b.settle, coalesce(b.release, 0) as release,
    coalesce(b.reserve, 0) as reserve
  from called c full join booked b using (job_id, commit_id)
)
select job_id, case
    when attempts > 0 and settle is null then 'attempt_unbooked'
    when coalesce(settle, 0) <> costs then 'settle_wrong'
    else 'release_wrong'
  end as law,
  format('commit %%s: %%s attempts at %%s with bounds of %%s; settled %%s, released %%s', commit_id,
    attempts, costs, bounds, settle, -release) as what
from compared
where (attempts > 0 and settle is null) or coalesce(settle, 0) <> costs
  or release > -bounds or reserve < 0
union all
select j.id, 'project_line_missing',
  format('commit %%s: %%s of %%s for the job, %%s for the project', l.commit_id, l.kind,
    l.amount_nusd, p.amount_nusd)
from jobs j
join holders h on h.job_id = j.id
join ledger l on l.account_id = j.account_id
left join ledger p on p.account_id = j.project_account_id and p.commit_id = l.commit_id
  and p.kind = l.kind
where (p.commit_id is null
  or (l.kind in ('settle', 'reserve') and p.amount_nusd < l.amount_nusd)
  or (l.kind = 'release' and p.amount_nusd > l.amount_nusd));

-- name: accounts
-- The account of a job, and of those linked to it, against its ledger lines, its attempts and its
-- entries in flight.
with {entries}, holders as (
  select account_id, min(id) as job_id, bool_and(ended_at is not null) as ended
  from jobs where id = any(%(ids)s::bigint[]) group by 1
), flying as (
  select h.job_id, sum(bound) as bounds
  from entries e join jobs j on j.id = e.job_id join holders h on h.account_id = j.account_id
  where e.sent group by 1
), called as (
  select h.job_id, sum(coalesce(cost_nusd, 0)) as costs,
    coalesce(sum(coalesce(cost_nusd, 0) - bound_nusd)
      filter (where a.status in ('late', 'resolved')), 0) as late
  from attempts a join jobs j on j.id = a.job_id join holders h on h.account_id = j.account_id
  where a.part = %(part)s and a.job_id = any(%(ids)s::bigint[]) group by 1
), booked as (
  select h.job_id, h.account_id, h.ended,
    coalesce(sum(l.amount_nusd) filter (where l.kind in ('settle', 'adjust')), 0) as spent,
    coalesce(sum(l.amount_nusd) filter (where l.kind in ('reserve', 'release')), 0) as reserved,
    coalesce(sum(l.amount_nusd) filter (where l.kind = 'adjust'), 0) as adjusted
  from holders h left join ledger l on l.account_id = h.account_id
  group by 1, 2, 3
), sums as (
  select b.*, coalesce(f.bounds, 0) as bounds, coalesce(c.costs, 0) as costs,
    coalesce(c.late, 0) as late
  from booked b left join flying f using (job_id) left join called c using (job_id)
)
select s.job_id, found.law, found.what
from sums s join accounts a on a.id = s.account_id
cross join lateral (values
  ('account_drift', a.spent_nusd <> s.spent or a.reserved_nusd <> s.reserved,
    format('the account says spent %%s, reserved %%s; the ledger %%s, %%s', a.spent_nusd,
      a.reserved_nusd, s.spent, s.reserved)),
  ('cost_drift', a.spent_nusd <> s.costs,
    format('the account says spent %%s; the attempts cost %%s', a.spent_nusd, s.costs)),
  ('reservation_orphan', s.reserved <> s.bounds,
    format('reserved %%s; the calls in flight have bounds of %%s', s.reserved, s.bounds)),
  ('reservation_orphan', s.ended and a.reserved_nusd <> 0,
    format('the job has ended with %%s reserved', a.reserved_nusd)),
  ('adjust_wrong', s.adjusted <> s.late,
    format('adjusted by %%s; late costs differ from their bounds by %%s', s.adjusted, s.late)),
  ('over_limit', a.spent_nusd + a.reserved_nusd > a.limit_nusd,
    format('spent %%s and reserved %%s of %%s', a.spent_nusd, a.reserved_nusd, a.limit_nusd)),
  ('negative', a.spent_nusd < 0 or a.reserved_nusd < 0,
    format('spent %%s, reserved %%s', a.spent_nusd, a.reserved_nusd))
) as found (law, broken, what)
where found.broken;

-- name: counters
-- Each deployment's counters against its attempts and results. A retry or a fallback is a failed
-- call that another one followed, at the same deployment or elsewhere, an escalation an answered one.
with counted as (
  select job_id, deployment,
    array[sum(attempts), sum(errors), sum(throttled), sum(unknown), sum(retries), sum(fallbacks),
      sum(escalations), sum(completed), sum(failed), sum(unpriced), sum(input_tokens),
      sum(output_tokens), sum(cost_nusd), sum(latency_ms), sum(out_of_scope),
      sum(needs_clarification), sum(unbooked_nusd)]::numeric[] as counts
  from job_counters where job_id = any(%(ids)s::bigint[]) group by 1, 2
), called as (
  select job_id, deployment, count(*) as attempts, count(*) filter (where status <> 'ok') as errors,
    count(*) filter (where error_class = 'throttled') as throttled,
    count(*) filter (where status in ('unknown', 'late', 'resolved')) as unknown,
    count(*) filter (where cost_nusd is null) as unpriced,
    coalesce(sum(input_tokens), 0) as input_tokens,
    coalesce(sum(output_tokens), 0) as output_tokens,
    coalesce(sum(cost_nusd), 0) as cost_nusd,
    coalesce(sum(latency_ms) filter (where status = 'ok'), 0) as latency_ms,
    coalesce(sum(unbooked_nusd), 0) as unbooked_nusd
  from attempts where part = %(part)s and job_id = any(%(ids)s::bigint[]) group by 1, 2
), followed as (
  select a.job_id, a.deployment, count(*) filter (where a.status = 'ok') as escalations,
    count(*) filter (where a.status <> 'ok' and b.deployment = a.deployment) as retries,
    count(*) filter (where a.status <> 'ok' and b.deployment <> a.deployment) as fallbacks
  from attempts b join attempts a on a.part = b.part and a.job_id = b.job_id and a.seq = b.seq
    and a.n = b.n - 1 and a.round = b.round
  where b.part = %(part)s and b.job_id = any(%(ids)s::bigint[]) and b.n > 1 group by 1, 2
), ended as (
  select job_id, deployment, count(*) filter (where status = 'completed') as completed,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'out_of_scope') as out_of_scope,
    count(*) filter (where status = 'needs_clarification') as needs_clarification
  from results where part = %(part)s and job_id = any(%(ids)s::bigint[]) group by 1, 2
), rows as (
  select job_id, deployment,
    array[coalesce(a.attempts, 0), coalesce(a.errors, 0), coalesce(a.throttled, 0),
      coalesce(a.unknown, 0), coalesce(f.retries, 0), coalesce(f.fallbacks, 0),
      coalesce(f.escalations, 0),
      coalesce(r.completed, 0), coalesce(r.failed, 0), coalesce(a.unpriced, 0),
      coalesce(a.input_tokens, 0), coalesce(a.output_tokens, 0), coalesce(a.cost_nusd, 0),
      coalesce(a.latency_ms, 0), coalesce(r.out_of_scope, 0),
      coalesce(r.needs_clarification, 0), coalesce(a.unbooked_nusd, 0)]::numeric[] as counts
  from called a full join ended r using (job_id, deployment)
  left join followed f using (job_id, deployment)
), compared as (
  select job_id, deployment, k.name, coalesce(c.counts[k.i], 0) as counter,
    coalesce(r.counts[k.i], 0) as truth
  from counted c full join rows r using (job_id, deployment)
  cross join unnest(array['attempts', 'errors', 'throttled', 'unknown', 'retries', 'fallbacks',
    'escalations', 'completed', 'failed', 'unpriced', 'input_tokens', 'output_tokens', 'cost_nusd',
    'latency_ms', 'out_of_scope', 'needs_clarification', 'unbooked_nusd'])
    with ordinality as k (name, i)
)
select job_id, 'counter_drift' as law,
  format('%%s on %%s: the counters say %%s, the rows %%s', name,
    coalesce(nullif(deployment, ''), 'no deployment'), counter, truth) as what
from compared where counter <> truth;

-- name: project
-- The project's account against its ledger lines and its jobs. What jobs spent that were deleted
-- since stays in its books, so it may have spent more than the jobs that are left.
with booked as (
  select a.id,
    coalesce(sum(l.amount_nusd) filter (where l.kind in ('settle', 'adjust')), 0) as spent,
    coalesce(sum(l.amount_nusd) filter (where l.kind in ('reserve', 'release')), 0) as reserved
  from accounts a left join ledger l on l.account_id = a.id
  where a.project_id = %(project_id)s and a.kind = 'project' group by 1
), jobs_have as (
  select j.project_account_id as id, sum(a.spent_nusd) as spent, sum(a.reserved_nusd) as reserved
  from (
    select distinct account_id, project_account_id from jobs where project_id = %(project_id)s
  ) j join accounts a on a.id = j.account_id
  group by 1
)
select null::bigint as job_id, found.law, found.what
from booked b join accounts a on a.id = b.id left join jobs_have j on j.id = b.id
cross join lateral (values
  ('account_drift', a.spent_nusd <> b.spent or a.reserved_nusd <> b.reserved,
    format('the project''s account says spent %%s, reserved %%s; the ledger %%s, %%s',
      a.spent_nusd, a.reserved_nusd, b.spent, b.reserved)),
  ('project_drift', a.spent_nusd < coalesce(j.spent, 0)
      or a.reserved_nusd <> coalesce(j.reserved, 0),
    format('the project''s account says spent %%s, reserved %%s; its jobs'' accounts %%s, %%s',
      a.spent_nusd, a.reserved_nusd, coalesce(j.spent, 0), coalesce(j.reserved, 0))),
  ('over_limit', a.spent_nusd + a.reserved_nusd > a.limit_nusd,
    format('the project has spent %%s and reserved %%s of %%s', a.spent_nusd, a.reserved_nusd,
      a.limit_nusd)),
  ('negative', a.spent_nusd < 0 or a.reserved_nusd < 0,
    format('the project''s account says spent %%s, reserved %%s', a.spent_nusd, a.reserved_nusd))
) as found (law, broken, what)
where found.broken;

-- name: facts
select
  (select coalesce(sum(total), 0) from jobs where id = any(%(ids)s::bigint[]))::bigint
    as requests,
  count(*) as attempts,
  count(*) filter (where status = 'unknown') as unknown,
  coalesce(sum(bound_nusd) filter (where status = 'unknown'), 0)::bigint as unknown_nusd,
  count(*) filter (where status in ('late', 'resolved')) as late,
  count(*) filter (where cost_nusd is null) as unpriced,
  count(unbooked_nusd) as above_bound,
  coalesce(sum(unbooked_nusd), 0)::bigint as unbooked_nusd,
  (select coalesce(sum(spent_nusd), 0) from accounts where id in (
    select account_id from jobs where id = any(%(ids)s::bigint[])))::bigint as spent_nusd,
  (select coalesce(sum(reserved_nusd), 0) from accounts where id in (
    select account_id from jobs where id = any(%(ids)s::bigint[])))::bigint as reserved_nusd
from attempts where part = %(part)s and job_id = any(%(ids)s::bigint[]);

-- name: totals
select id, total from jobs where id = any(%(ids)s::bigint[]);
