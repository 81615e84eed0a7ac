-- A call whose provider reported more than its bound: how much of that was not booked.
ALTER TABLE attempts ADD COLUMN unbooked_nusd BIGINT;
ALTER TABLE job_counters ADD COLUMN unbooked_nusd BIGINT DEFAULT 0 NOT NULL;

-- Among how many weights of its project's jobs a chunk's turn was reckoned.
ALTER TABLE chunks ADD COLUMN crowd DOUBLE PRECISION DEFAULT 1 NOT NULL;
