-- The statements of one record transaction, in the order in which db/record.py runs them.

-- name: lock_chunks
-- Which of the chunks are still ours; the fence is checked here, chunk by chunk. One that we left
-- to the sweep is ours until the sweep has been there.
select c.id, case when j.stop is not null then 'stopped' when j.paused then 'paused' else '' end,
  c.owner is null
from unnest(%(ids)s::bigint[], %(fences)s::int[]) as held (id, fence)
join chunks c on c.id = held.id and c.fence = held.fence
join jobs j on j.id = c.job_id
where c.status = 'leased' and (c.owner = %(owner)s or c.owner is null)
order by c.id
for no key update of c;

-- name: copy_attempts
copy attempts (part, job_id, seq, n, round, deployment, status, error_class, error, http_status,
  input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_nusd, bound_nusd,
  latency_ms, chunk_id, commit_id, unbooked_nusd) from stdin;

-- name: copy_results
copy results (part, job_id, seq, round, status, deployment, n, http_status, request_id, body,
  error, commit_id, step) from stdin;

-- name: copy_replies
copy replies (part, job_id, seq, n, round, deployment, body, score) from stdin;

-- name: stage
create temp table staged_{table} (like {table} including defaults) on commit drop;

-- name: unstage_attempts
insert into attempts select * from staged_attempts on conflict do nothing
returning job_id, seq, n;

-- name: unstage_results
insert into results select * from staged_results on conflict do nothing
returning job_id, seq, n;

-- name: unstage_replies
insert into replies select * from staged_replies on conflict do nothing
returning job_id, seq, n;

-- name: count
insert into job_counters as c (job_id, deployment, writer, attempts, errors, throttled, unknown,
  retries, fallbacks, escalations, completed, failed, unpriced, input_tokens, output_tokens,
  cost_nusd, latency_ms, unbooked_nusd)
values (%(job_id)s, %(deployment)s, %(writer)s, %(attempts)s, %(errors)s, %(throttled)s,
  %(unknown)s, %(retries)s, %(fallbacks)s, %(escalations)s, %(completed)s, %(failed)s,
  %(unpriced)s, %(input_tokens)s, %(output_tokens)s, %(cost_nusd)s, %(latency_ms)s,
  %(unbooked_nusd)s)
on conflict (job_id, deployment, writer) do update set
  attempts = c.attempts + excluded.attempts,
  errors = c.errors + excluded.errors,
  throttled = c.throttled + excluded.throttled,
  unknown = c.unknown + excluded.unknown,
  retries = c.retries + excluded.retries,
  fallbacks = c.fallbacks + excluded.fallbacks,
  escalations = c.escalations + excluded.escalations,
  completed = c.completed + excluded.completed,
  failed = c.failed + excluded.failed,
  unpriced = c.unpriced + excluded.unpriced,
  input_tokens = c.input_tokens + excluded.input_tokens,
  output_tokens = c.output_tokens + excluded.output_tokens,
  cost_nusd = c.cost_nusd + excluded.cost_nusd,
  latency_ms = c.latency_ms + excluded.latency_ms,
  unbooked_nusd = c.unbooked_nusd + excluded.unbooked_nusd,
  updated_at = now();

-- name: move
-- Given a turn, it goes behind that and behind all that is bound to its deployment.
insert into chunks (job_id, part, round, plan_id, candidate, came_from, excluded, among,
  deployment, size, seqs, tries, calls, tokens, text_bytes, overheads, outputs, bounds, status,
  not_before, turn, reason)
values (%(job_id)s, %(part)s, %(round)s, %(plan_id)s, %(candidate)s, %(came_from)s, %(excluded)s,
  %(among)s, %(deployment)s, %(size)s, %(seqs)s, %(tries)s, %(calls)s, %(tokens)s, %(text_bytes)s,
  %(overheads)s, %(outputs)s, %(bounds)s,
  case when (select paused from jobs where id = %(job_id)s) then 'planned' else %(status)s end,
  now() + %(delay)s * interval '1 second',
  case when %(turn)s::float8 is null then 0 else 1 + greatest(%(turn)s::float8,
    (select max(turn) from chunks where deployment = %(deployment)s
      and status in ('ready', 'waiting') and kind = 'call')) end,
  %(reason)s);

-- name: lock_accounts
-- A submit that has just referred to the account does not have to end first.
select id, spent_nusd, reserved_nusd, limit_nusd
from accounts where id = any(%(ids)s::bigint[]) order by id for no key update;

-- name: advance
update chunks c set sent = u.sent,
  status = case when u.done then 'done' else c.status end,
  owner = case when u.done then null else c.owner end
from unnest(%(ids)s::bigint[], %(sents)s::int[], %(dones)s::bool[]) as u (id, sent, done)
where c.id = u.id;

-- name: give_back_whole
update chunks c set owner = null, sent = 0,
  status = case when j.paused then 'planned' when %(delay)s > 0 then 'waiting' else 'ready' end,
  not_before = now() + %(delay)s * interval '1 second', reason = %(reason)s
from jobs j where c.id = %(id)s and j.id = c.job_id;

-- name: give_back_rest
-- Or it waits for the plan of its job, where the money had no room for it at its candidate.
with rest as (
  insert into chunks (job_id, part, round, kind, plan_id, candidate, came_from, excluded, among,
    deployment, size, seqs, tries, calls, tokens, text_bytes, overheads, outputs, bounds, status,
    not_before, turn, reason, choice)
  select job_id, part, round, case when %(replan)s then 'plan' else kind end, plan_id, candidate,
    came_from, case when %(replan)s then excluded | 1::bigint << candidate else excluded end, among,
    case when %(replan)s then '' else deployment end, size - sent,
    seqs[sent + 1:], tries[sent + 1:], calls[sent + 1:], tokens[sent + 1:],
    text_bytes[sent + 1:], overheads[sent + 1:], outputs[sent + 1:], bounds[sent + 1:],
    case when %(replan)s or (select paused from jobs where id = job_id) then 'planned'
      when %(delay)s > 0 then 'waiting' else 'ready' end,
    now() + %(delay)s * interval '1 second', turn, %(reason)s, choice
  from chunks where id = %(id)s and sent < size
)
update chunks set size = sent, seqs = seqs[1:sent], tries = tries[1:sent],
  calls = calls[1:sent], tokens = tokens[1:sent], text_bytes = text_bytes[1:sent],
  overheads = overheads[1:sent], outputs = outputs[1:sent], bounds = bounds[1:sent]
where id = %(id)s;

-- name: leave_rest
-- The unsent rest has its results from elsewhere.
update chunks set size = sent, seqs = seqs[1:sent], tries = tries[1:sent],
  calls = calls[1:sent], tokens = tokens[1:sent], text_bytes = text_bytes[1:sent],
  overheads = overheads[1:sent], outputs = outputs[1:sent], bounds = bounds[1:sent]
where id = %(id)s;

-- name: exhaust
-- The budget has no room for the next request and nothing reserved can come back. Accounts are
-- locked by now: the job's chunks, which others may hold, are left to `drop`.
with held as (
  select id from jobs where id = any(%(job_ids)s::bigint[]) and stop is null
  order by id for no key update
)
update jobs j set stop = 'budget_exhausted', stopping_at = now() from held where j.id = held.id;

-- name: drop
-- In a transaction of its own. What somebody holds just now is dropped by its holder or the sweep.
with free as (
  select id from chunks
  where job_id = any(%(job_ids)s::bigint[]) and status in ('planned', 'ready', 'waiting')
  order by id for update skip locked
)
update chunks c set status = 'done' from free where c.id = free.id;

-- name: drained
select ids.id from unnest(%(job_ids)s::bigint[]) as ids (id)
where not exists (select from chunks c where c.job_id = ids.id and c.status <> 'done');

-- name: write_ledger
insert into ledger (commit_id, account_id, kind, amount_nusd)
select %(commit_id)s, u.* from
  unnest(%(accounts)s::bigint[], %(kinds)s::text[], %(amounts)s::bigint[]) as u;

-- name: move_accounts
with ordered as (
  select a.id, u.spent, u.reserved
  from unnest(%(ids)s::bigint[], %(spent)s::bigint[], %(reserved)s::bigint[])
    as u (id, spent, reserved)
  join accounts a on a.id = u.id
  order by a.id for no key update of a
)
update accounts a set spent_nusd = a.spent_nusd + o.spent,
  reserved_nusd = a.reserved_nusd + o.reserved
from ordered o where a.id = o.id;

-- name: was_committed
select exists (select from ledger where commit_id = %(commit_id)s);

-- name: settle_late
-- A call whose chunk was taken over has an answer after all: its true cost replaces what was
-- booked for it.
update attempts a set status = 'late', cost_nusd = %(cost)s, http_status = %(http_status)s,
  input_tokens = %(input_tokens)s, cached_tokens = %(cached_tokens)s,
  output_tokens = %(output_tokens)s, reasoning_tokens = %(reasoning_tokens)s,
  latency_ms = %(latency)s, unbooked_nusd = %(unbooked)s
from attempts before
where a.part = %(part)s and a.job_id = %(job_id)s and a.seq = %(seq)s and a.n = %(n)s
  and a.status = 'unknown'
  and before.part = a.part and before.job_id = a.job_id and before.seq = a.seq and before.n = a.n
returning before.cost_nusd;
