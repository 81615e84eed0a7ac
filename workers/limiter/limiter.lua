-- Leave for the longest prefix of the calls asked for, over all buckets of one deployment.
--
-- KEYS  1 state (hash: requests, tokens, at), 2 pause (string: until, ms), 3 in flight (hash:
--       holder -> calls), 4 holders (hash: holder -> last seen, ms)
-- ARGV  1 rpm, 2 tpm, 3 in flight (0 = undeclared), 4 share of a second that a bucket holds,
--       5 holder, 6 holder expiry ms, 7 calls that the holder has in flight, 8 tokens to put
--       back, 9.. tokens of each call asked for
-- Answers {granted, wait ms, full (0 or 1)}. The clock is the server's.
--
-- A bucket fills at the declared rate and holds about a second of it, strictly less than any
-- provider's, so that a burst never trips the provider. A new bucket starts empty. A call that
-- is larger than half a bucket may go when the bucket is half full, which then goes into debt:
-- were it to wait for more, smaller calls would drain the bucket before it for ever.
--
-- A holder says how many calls it has in flight and not how many came or went, so that an
-- answer that was lost on the way leaves nothing behind.

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local rpm, tpm, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local span, holder, expiry = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local mine, back = tonumber(ARGV[7]), tonumber(ARGV[8])
local asked = #ARGV - 8

local state = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'at')
local at = tonumber(state[3]) or now
local passed = math.max(0, now - at) / 60000
local most_requests = math.max(1, rpm * span / 60)
local most_tokens = tpm * span / 60
local requests = math.min(most_requests, (tonumber(state[1]) or 0) + rpm * passed)
local tokens = math.min(most_tokens, (tonumber(state[2]) or 0) + tpm * passed + back)

local flying = 0
if most > 0 then
  redis.call('HSET', KEYS[3], holder, mine)
  redis.call('HSET', KEYS[4], holder, now)
  local seen = redis.call('HGETALL', KEYS[4])
  for i = 1, #seen, 2 do
    if now - tonumber(seen[i + 1]) > expiry then
      redis.call('HDEL', KEYS[3], seen[i])
      redis.call('HDEL', KEYS[4], seen[i])
    end
  end
  for _, calls in ipairs(redis.call('HVALS', KEYS[3])) do flying = flying + tonumber(calls) end
end

local granted, wait, full = 0, 0, 0
local pause = tonumber(redis.call('GET', KEYS[2])) or 0
if asked > 0 and pause > now then
  wait = pause - now
else
  for i = 1, asked do
    local need = tonumber(ARGV[8 + i])
    if most > 0 and flying >= most then full = 1; break end
    if rpm > 0 and requests < 1 then
      -- Worth waking for several at once: as many as are asked for, at most 50 ms of them.
      local some = math.min(asked - granted, math.max(1, rpm / 1200))
      wait = math.ceil((some - requests) * 60000 / rpm)
      break
    end
    local enough = math.min(need, most_tokens / 2)
    if tpm > 0 and tokens < enough then
      wait = math.ceil((enough - tokens) * 60000 / tpm)
      break
    end
    granted, flying = granted + 1, flying + 1
    if rpm > 0 then requests = requests - 1 end
    if tpm > 0 then tokens = tokens - need end
  end
end

redis.call('HSET', KEYS[1], 'requests', tostring(requests), 'tokens', tostring(tokens),
  'at', now)
redis.call('PEXPIRE', KEYS[1], 600000)
if most > 0 and granted > 0 then redis.call('HSET', KEYS[3], holder, mine + granted) end
if full == 1 then wait = 50 end
return {granted, math.max(wait, granted < asked and 1 or 0), full}
