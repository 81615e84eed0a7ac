-- Other calls have contradicted a 429: its pause ends, and where it ends before its time, 429s are
-- taken for strays for a minute. KEYS[1] holds the line's state. The clock is the server's.

local PROBES, SPARED = 3, 60000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'doubt', 'probes')
if (tonumber(state[1]) or 0) > now and (tonumber(state[2]) or 0) <= PROBES then
  redis.call('HSET', KEYS[1], 'strays_until', now + SPARED)
end
redis.call('HDEL', KEYS[1], 'doubt', 'probes', 'denied', 'probe_at')
