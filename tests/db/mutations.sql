-- Corruptions of the scene of test_audit.py: `-- law: what is done`, then the statements. The words
-- in braces are subqueries that stand in the test.

-- job_incomplete: drop a result
delete from results where job_id = %(done)s and seq = 0;

-- job_incomplete: drop the results of a deployment
delete from results where job_id = %(done)s and deployment = 'large';

-- request_lost: drop a running job's result
delete from results where job_id = %(running)s and seq = {answered};

-- answer_lost: drop a stopped job's result
delete from results where job_id = %(stopped)s and status = 'completed' and seq = (select min(seq)
  from results where job_id = %(stopped)s and status = 'completed');

-- attempt_gap: drop a result and all calls of it
delete from results where job_id = %(stopped)s and seq = 0;
delete from attempts where job_id = %(stopped)s and seq = 0;
update attempts set n = n + 1 where job_id = %(stopped)s and seq = 1;

-- result_twice: write a result twice
alter table results drop constraint pk_results;
insert into results select * from results where job_id = %(done)s and seq = 1;

-- result_twice: write a result of another round
insert into results select part, job_id, seq, 2, status, deployment, n, http_status, request_id,
  body, error, commit_id from results where job_id = %(done)s and seq = 1;

-- winner_missing: move a result to another request
update results set seq = 39 where job_id = %(running)s and seq = {answered};

-- winner_missing: say another deployment
update results set deployment = 'large' where job_id = %(done)s and seq = 0;

-- winner_missing: say another call
update results set n = 1 where job_id = %(done)s and seq = {twice};

-- winner_missing: call an answer a failure
update results set status = 'failed' where job_id = %(done)s and seq = 0;

-- winner_missing: call a failure an answer
update results set status = 'completed' where job_id = %(done)s and status = 'failed';

-- winner_missing: make up a result without a call
update results set n = 0, deployment = '' where job_id = %(done)s and seq = 0;

-- settle_wrong: alter a settle line
update ledger set amount_nusd = amount_nusd + 1 where kind = 'settle' and commit_id = {commit} and
  account_id = {account};

-- attempt_unbooked: remove a settle line
delete from ledger where kind = 'settle' and commit_id = {commit} and account_id = {account};

-- attempt_unbooked: remove a commit from the ledger
delete from ledger where commit_id = {commit};

-- settle_wrong: add a settle line
insert into ledger values (7, {account}, 'settle', 5);
update accounts set spent_nusd = spent_nusd + 5 where id = {account};

-- attempt_unbooked: move a settle line to another commit
update ledger set commit_id = 7 where kind = 'settle' and commit_id = {commit};

-- release_wrong: alter a release line
update ledger set amount_nusd = amount_nusd + 1 where kind = 'release' and commit_id = {commit};

-- release_wrong: remove a release line
delete from ledger where kind = 'release' and commit_id = {commit};

-- account_drift: remove a reserve line
delete from ledger where kind = 'reserve' and commit_id = (select min(commit_id) from ledger where
  kind = 'reserve' and amount_nusd > 0 and account_id = {account});

-- release_wrong: reserve less than nothing
insert into ledger values (7, {account}, 'reserve', -5);

-- adjust_wrong: remove an adjust line
delete from ledger where kind = 'adjust' and account_id = {account};

-- adjust_wrong: adjust twice
insert into ledger values (7, {account}, 'adjust', -5);
update accounts set spent_nusd = spent_nusd - 5 where id = {account};

-- project_line_missing: remove the project's line
delete from ledger where kind = 'settle' and commit_id = {commit} and account_id = {project};

-- project_line_missing: lower the project's line
update ledger set amount_nusd = amount_nusd - 1 where kind = 'settle' and commit_id = {commit} and
  account_id = {project};

-- settle_wrong: change a cost
update attempts set cost_nusd = cost_nusd - 1 where job_id = %(done)s and seq = 0;

-- settle_wrong: change the cost of a linked job's call
update attempts set cost_nusd = cost_nusd - 1 where job_id = %(linked)s and seq = 0;

-- cost_drift: forget the cost of a linked job's call
update attempts set cost_nusd = null where job_id = %(linked)s and seq = 0;

-- attempt_unbooked: lose the commits of a linked job
delete from ledger where commit_id in (select commit_id from attempts where job_id = %(linked)s);

-- settle_wrong: lose the attempts of a linked job with their results
delete from attempts where job_id = %(linked)s;
delete from results where job_id = %(linked)s;
delete from requests where job_id = %(linked)s;
update jobs set total = 0 where id = %(linked)s;
delete from job_counters where job_id = %(linked)s;

-- cost_drift: forget a cost
update attempts set cost_nusd = null where job_id = %(done)s and seq = 0;

-- adjust_wrong: change a late cost
update attempts set cost_nusd = 1 where job_id = %(done)s and status = 'late';

-- cost_wrong: change a cost in doubt
update attempts set cost_nusd = 1 where job_id = %(done)s and status = 'unknown';

-- cost_wrong: call a late reply unknown
update attempts set status = 'unknown' where job_id = %(done)s and status = 'late';

-- release_wrong: change a bound
update attempts set bound_nusd = bound_nusd + 1 where job_id = %(done)s and seq = 0;

-- bill_above_bound: bill above the bound
update attempts set cost_nusd = bound_nusd + 1 where job_id = %(done)s and seq = 0;

-- attempt_unbooked: book under another commit
update attempts set commit_id = 7 where job_id = %(done)s and seq = 0;

-- attempt_gap: lose an attempt
delete from attempts where job_id = %(done)s and seq = {twice} and n = 1;

-- winner_missing: lose a last attempt
delete from attempts where job_id = %(done)s and seq = {twice} and n = 2;

-- entry_out_of_step: lose an open request's attempt
delete from attempts where job_id = %(running)s and status = 'unknown';

-- attempt_gap: skip a number
update attempts set n = 3 where job_id = %(done)s and seq = {twice} and n = 2;

-- call_after_result: make up a later call
insert into attempts select part, job_id, seq, 2, round, deployment, 'error', 'overloaded', '',
  503, null, null, null, null, 0, 0, 1, chunk_id, commit_id from attempts where job_id = %(done)s and seq =
  0 and n = 1;

-- request_lost: lose a chunk
delete from chunks where id = {ready};

-- request_lost: close a chunk
update chunks set status = 'done' where id = {ready};

-- reservation_orphan: close a leased chunk
update chunks set status = 'done' where id = {leased};

-- request_lost: lose a chunk entry
update chunks set size = size - 1, seqs = trim_array(seqs, 1), tries = trim_array(tries, 1), calls
  = trim_array(calls, 1), tokens = trim_array(tokens, 1), bounds = trim_array(bounds, 1) where id
  = {ready};

-- request_twice: duplicate a chunk
insert into chunks (job_id, part, round, plan_id, deployment, size, seqs, tries, calls, tokens,
  bounds, status) select job_id, part, round, plan_id, deployment, size, seqs, tries, calls,
  tokens, bounds, 'planned' from chunks where id = {ready};

-- request_twice: duplicate a chunk entry
update chunks set size = size + 1, seqs = seqs || (select seqs[1] from chunks where id = {ready}),
  tries = tries || 0::smallint, calls = calls || calls[1]::smallint, tokens = tokens || 10, bounds
  = bounds || 1000::bigint where id = {ready};

-- request_twice: call an answered request
update chunks set size = size + 1, seqs = seqs || {answered}, tries = tries || 0::smallint, calls
  = calls || 1::smallint, tokens = tokens || 10, bounds = bounds || 1000::bigint where id =
  {ready};

-- request_unknown: call a request that is not there
update chunks set size = size + 1, seqs = seqs || 4000, tries = tries || 0::smallint, calls =
  calls || 0::smallint, tokens = tokens || 10, bounds = bounds || 1000::bigint where id = {ready};

-- chunk_broken: shorten a list
update chunks set bounds = array[1] where id = {ready};

-- chunk_broken: move a cursor that nobody holds
update chunks set sent = 1 where id = {ready};

-- reservation_orphan: move a cursor
update chunks set sent = sent + 1 where id = {leased};

-- entry_out_of_step: miscount an entry's calls
update chunks set calls[1] = calls[1] + 1 where id = {ready};

-- chunk_open_after_end: reopen a chunk of a finished job
update chunks set status = 'ready' where id = (select max(id) from chunks where job_id = %(done)s);

-- chunk_open_after_end: end a running job
update jobs set status = 'completed', ended_at = now() where id = %(running)s;

-- job_incomplete: call a stopped job completed
update jobs set status = 'completed', stop = null where id = %(stopped)s;

-- reservation_orphan: orphan a reservation
insert into ledger values (7, {account}, 'reserve', 5);
insert into ledger values (7, {project}, 'reserve', 5);
update accounts set reserved_nusd = reserved_nusd + 5 where id in ({account}, {project});

-- account_drift: drift an account
update accounts set spent_nusd = spent_nusd + 1 where id = {account};

-- account_drift: drift an account's reservation
update accounts set reserved_nusd = reserved_nusd + 1 where id = {account};

-- account_drift: drift the project's account
update accounts set spent_nusd = spent_nusd + 1 where id = {project};

-- project_drift: spend less in the project than in its jobs
update accounts set spent_nusd = 1 where id = {project};

-- project_drift: reserve in the project alone
insert into ledger values (7, {project}, 'reserve', 5);
update accounts set reserved_nusd = reserved_nusd + 5 where id = {project};

-- over_limit: lower a limit below what is spent
update accounts set limit_nusd = spent_nusd - 1 where id = {account};

-- over_limit: lower the project's limit
update accounts set limit_nusd = spent_nusd where id = {project};

-- negative: spend less than nothing
alter table accounts drop constraint ck_accounts_spent;
update accounts set spent_nusd = -1 where id = {account};

-- counter_drift: miscount answers
update job_counters set completed = completed + 1 where job_id = %(done)s;

-- counter_drift: miscount a cost
update job_counters set cost_nusd = cost_nusd - 1 where job_id = %(running)s;

-- counter_drift: count a retry as a fallback
update job_counters set retries = retries - 1, fallbacks = fallbacks + 1
where job_id = %(done)s and deployment = 'small';

-- counter_drift: lose a counter
delete from job_counters where job_id = %(done)s and deployment = 'large';

-- request_missing: lose a request
delete from requests where job_id = %(running)s and seq = 39;

-- conservation: lose a request with all of its rows
delete from requests where job_id = %(done)s and seq = 39;
delete from results where job_id = %(done)s and seq = 39;
delete from attempts where job_id = %(done)s and seq = 39;

-- request_missing: count more requests
update jobs set total = total + 1 where id = %(done)s;

-- answer_lost: lose a kept answer
delete from replies where job_id = %(stepped)s and seq = 1;

-- answer_lost: lose the result that an earlier answer became
delete from results where job_id = %(stepped)s and seq = 4;

-- winner_missing: lose the kept answer that is the result
delete from replies where job_id = %(stepped)s and seq = 2;

-- winner_missing: say that an answer that was kept came with another commit
update results set commit_id = 7 where job_id = %(stepped)s and seq = 2;

-- winner_missing: take another answer for the result
update results set n = 2 where job_id = %(stepped)s and seq = 4;

-- reply_twice: keep an answer twice
alter table replies drop constraint pk_replies;
insert into replies select * from replies where job_id = %(stepped)s and seq = 1;

-- reply_astray: keep the answer that is the result
insert into replies select part, job_id, seq, n, round, deployment, body from results
  where job_id = %(stepped)s and seq = 0;

-- reply_astray: keep the answer of a failed call
insert into replies select part, job_id, seq, 2, round, 'large', '""' from results
  where job_id = %(stepped)s and seq = 2;

-- reply_astray: keep an answer of a call that is not there
insert into replies select part, job_id, seq, 9, round, deployment, body from replies
  where job_id = %(stepped)s and seq = 1;

-- reply_astray: keep an answer as another deployment's
update replies set deployment = 'large' where job_id = %(stepped)s and seq = 1;

-- call_after_result: make up a call after an earlier answer became the result
insert into attempts select part, job_id, seq, 3, round, deployment, 'error', 'overloaded', '',
  503, null, null, null, null, 0, 0, 1, chunk_id, commit_id from attempts
  where job_id = %(stepped)s and seq = 2 and n = 2;

-- counter_drift: miscount escalations
update job_counters set escalations = escalations - 1 where job_id = %(stepped)s
  and deployment = 'small';
