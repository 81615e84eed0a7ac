-- Nobody calls a deployment until now + ARGV[1] ms; KEYS[1] holds the end. A longer pause that
-- stands already is not cut short. The clock is the server's.

local now = redis.call('TIME')
local ends = now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[1])
if ends > (tonumber(redis.call('GET', KEYS[1])) or 0) then
  redis.call('SET', KEYS[1], ends, 'PX', ARGV[1])
end
