-- What is read of a chunk `c` to work on it; other rooms take these by their names.

-- name: columns
-- In the order of `db/leased.py`.
c.id, c.fence, c.job_id, c.part, c.round, c.plan_id, c.candidate, c.deployment, c.excluded, c.among,
  c.seqs, c.tries, c.calls, c.tokens, c.text_bytes, c.overheads, c.outputs, c.bounds,
  j.account_id, j.project_account_id, (a.limit_nusd is not null or p.limit_nusd is not null),
  plans.body, c.came_from

-- name: joins
join jobs j on j.id = c.job_id
join accounts a on a.id = j.account_id
join accounts p on p.id = j.project_account_id
join plans on plans.id = c.plan_id
