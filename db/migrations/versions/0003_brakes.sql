-- Fair order knows the size of every job's next chunk without looking at it.
ALTER TABLE turns ADD COLUMN head INTEGER DEFAULT 0 NOT NULL;
