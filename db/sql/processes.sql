-- Process rows and their leases; what a dead process leaves behind.

-- name: register
insert into processes (kind, host, pid, controls, lease_until)
values (%(kind)s, %(host)s, %(pid)s, %(controls)s, now() + %(lease)s * interval '1 second')
returning id;

-- name: renew
update processes set renewed_at = now(), lease_until = now() + %(lease)s * interval '1 second'
where id = %(id)s returning id;

-- name: end
delete from processes where id = %(id)s;

-- name: expire
-- A lease that ended in 1970 is that of a process known to be dead, not of one unheard of.
update processes set lease_until = 'epoch' where host = %(host)s and pid = %(pid)s;

-- name: orphaned
-- Chunks whose owner is dead or gone; `limit` keeps each take-over's transaction short. In the
-- order of the index of leased chunks: by id alone it might read all that are done.
select c.id from chunks c
where c.status = 'leased' and c.kind = 'call'
  and not exists (
    select from processes p where p.id = c.owner
      and p.lease_until > case when %(unheard)s then now() else 'epoch' end)
order by c.owner, c.id limit 50
for update of c skip locked;

-- name: left_behind
select {leased.columns}, c.sent, j.stop is not null,
  array(
    select i from generate_series(1, c.sent) as i
    where not exists (
      select from attempts a
      where a.part = c.part and a.job_id = c.job_id and a.seq = c.seqs[i]
        and a.n = c.calls[i] + 1)
  )
from chunks c {leased.joins}
where c.id = any(%(ids)s::bigint[])
order by c.id;

-- name: put_back
-- The untouched rest; the fence makes sure that the old owner's word no longer counts.
update chunks c set fence = fence + 1, owner = null, size = size - sent, seqs = seqs[sent + 1:],
  tries = tries[sent + 1:], calls = calls[sent + 1:], tokens = tokens[sent + 1:],
  text_bytes = text_bytes[sent + 1:], overheads = overheads[sent + 1:],
  outputs = outputs[sent + 1:], bounds = bounds[sent + 1:], sent = 0, not_before = now(),
  status = case when size = sent or %(stopped)s then 'done' when j.paused then 'planned'
    else 'ready' end,
  reason = %(reason)s
from jobs j where c.id = %(id)s and j.id = c.job_id;

-- name: cut_off
-- By the name of their connections (`session_name`), of which Postgres keeps 63 bytes.
with silent as (
  select left('batchyard ' || pid || '@' || host, 63) as name
  from processes group by host, pid having max(lease_until) <= now()
)
select count(*) filter (where pg_terminate_backend(a.pid))
from pg_stat_activity a join silent on a.application_name = silent.name
where a.datname = current_database() and a.usename = current_user and a.xact_start is not null
  and a.pid <> pg_backend_pid();

-- name: forget
delete from processes p
where p.lease_until < case when %(unheard)s then now() - interval '1 minute' else 'epoch' end
  and not exists (select from chunks c where c.owner = p.id and c.status = 'leased');
