-- Nobody calls under a scope until now + ARGV[1] ms; KEYS[1] holds its state. A longer pause that
-- stands already is not cut short. ARGV[2] is the epoch in which the throttled call got its permit:
-- whoever asks next cuts what the scope grants, once per epoch. ARGV[3] says whose pause it is:
-- `pause` stands; a `stray` one is its request's alone; those of other 429s are tried with probes (see
-- `limiter.lua`): `doubt`, unless 429s are taken for strays; `limit`, where they no longer are;
-- `denied`, a probe's.
-- The clock is the server's.

local PROBES, PROBE_EVERY = 3, 250

local key, epoch, kind = KEYS[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = now + tonumber(ARGV[1])

local function number(name) return tonumber(redis.call('HGET', key, name)) end

local function halt(name)
  if ends > (number(name) or 0) then redis.call('HSET', key, name, ends) end
end

local function begin_trial()
  redis.call('HSET', key, 'probes', 0, 'denied', 0, 'probe_at', now + PROBE_EVERY)
end

-- When the last probe is refused the pause stands; so it does at once where it stood before.
local function deny()
  local denied = redis.call('HINCRBY', key, 'denied', 1)
  if denied >= PROBES or (number('probes') or 0) > PROBES then
    redis.call('HSET', key, 'probe_at', now)
  end
end

if kind == 'pause' then
  halt('pause')
elseif kind == 'limit' or kind == 'denied' or kind == 'doubt' and now >= (number('strays_until') or 0) then
  redis.call('HDEL', key, 'strays_until')
  local stood = (number('probes') or 0) >= PROBES and (number('denied') or 0) > 0
  if now >= (number('doubt') or 0) and not stood then begin_trial() end
  if kind == 'denied' then deny() end
  halt('doubt')
end
if epoch > (number('throttled') or -1) then redis.call('HSET', key, 'throttled', epoch) end
redis.call('PEXPIRE', key, 3600000 + tonumber(ARGV[1]))
