-- What holds calls back in the processes that make them.

-- name: put
insert into brakes as b (deployment, process_id, scope, what, most, share, until)
select u.deployment, p.id, u.scope, u.what, u.most, u.share, now() + u.ahead * interval '1 second'
from processes p, unnest(%(deployments)s::text[], %(scopes)s::text[], %(whats)s::text[],
  %(mosts)s::float8[], %(shares)s::real[], %(aheads)s::float8[])
  as u (deployment, scope, what, most, share, ahead)
where p.id = %(process_id)s
on conflict (deployment, process_id, scope, what) do update set most = excluded.most,
  share = excluded.share, until = excluded.until;

-- name: forget
delete from brakes where process_id = %(process_id)s and until < now() - interval '1 minute';

-- name: read
-- Over all living processes; one that holds them back for longer counts for more.
select b.deployment, b.scope, b.what, max(b.most), max(b.share)::float8
from brakes b
join processes p on p.id = b.process_id and p.lease_until > now()
where b.until > now() group by 1, 2, 3 order by 1, 5 desc, 2, 3;
