-- Nobody calls under a scope until now + ARGV[1] ms; KEYS[1] holds its state. A longer pause that
-- stands already is not cut short. ARGV[3] names it: a `pause`, or a `doubt` that other calls may
-- contradict. ARGV[2] is the epoch in which the throttled call got its
-- permit: whoever asks next cuts what the scope grants, once per epoch. The clock is the server's.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends, epoch = now + tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], ARGV[3], 'throttled')
if ends > (tonumber(state[1]) or 0) then redis.call('HSET', KEYS[1], ARGV[3], ends) end
if epoch > (tonumber(state[2]) or -1) then redis.call('HSET', KEYS[1], 'throttled', epoch) end
redis.call('PEXPIRE', KEYS[1], 3600000 + tonumber(ARGV[1]))
