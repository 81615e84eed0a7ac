-- Leave for the longest prefix of the calls asked for, over the buckets of all their scopes (a
-- deployment's line, its provider key, a project): a call takes from all of them or from none.
--
-- KEYS  1 holders (hash: process -> last seen, ms); then per scope its state (hash) and its calls
--       in flight (hash: holder -> calls). One cluster slot.
-- ARGV  1 JSON, built and described in `books.py`
-- Answers {granted, wait ms, full (0 or 1), living holders, the number of the scope that is in the
--       way longest (0: none) and what of it (1 to 4: a rate, as below; 5: calls at once; 6: a
--       pause), whether the call granted is a probe, then per scope: pause ms, those of a 429, whether
--       that one is on trial, whether 429s are strays (0 or 1), epoch, calls at once, and the rates
--       in force a minute: requests, tokens, input, output}; 0 is no limit. The clock is the server's.
--
-- A bucket fills at its rate and holds about a second of it, strictly less than any provider's,
-- so that a burst never trips the provider. A new bucket starts empty. A call that is larger than
-- half a bucket may go when the bucket is half full, which then goes into debt: were it to wait
-- for more, smaller calls would drain the bucket before it for ever.
--
-- The express share is the lowest part of a bucket: batch calls leave it where it is, which costs
-- them no rate, and express calls take it. Of the calls at once, which do not refill, it is kept
-- only while express calls have been asked for within the last minute.
--
-- A holder says how many calls it has in flight and not how many came or went, so that an
-- answer that was lost on the way leaves nothing behind.
--
-- A 429's pause is on trial until single calls, the probes, have shown whether the provider means it:
-- three are sent while it lasts, ever further apart. The first that is answered ends it (`lift.lua`);
-- when all were refused it stands, and at its end one call goes before all others.
--
-- Where a scope adapts, a 429 of the present epoch cuts it and begins the next epoch, so that the
-- calls that were under way already cut nothing more. What is cut is the factor on what was
-- declared or told: on its rates, or on its calls at once where there is no rate; else the window
-- of calls at once. Then it grows: fast up to where the last 429 was, slowly beyond. A window
-- begins small and doubles until its first 429, or until answers take so much longer that calls
-- seem to queue at the provider. Whether they do is tried with half of the calls, half of those and
-- so on, as long as these bring nearly as many answers a second: the smallest such window, and some
-- more, is enough. Where half bring fewer, the answers have become longer by themselves, or more
-- calls do pay, and the window grows on. The longer nothing is found, the more seldom it is tried.

local SPAN = 1.0           -- seconds of its rate that a bucket holds
local WORTH = 0.05         -- seconds of a rate that are worth waking for
local CUT, DEEP_CUT, HALVE = 0.9, 0.75, 0.5
local WINDOW_CUT = 0.95   -- a few calls fewer at once are enough where that is the limit
local SOON = 3000          -- ms; a cut so soon after the last one is a deep one
local HOLD = 250           -- ms; after a cut, for the provider's own bucket to recover
local NEAR = 0.9           -- of the knee, where growth turns slow
local WINDOW_NEAR = 0.97   -- calls at once are counted exactly: the way back leads nearer to it
local FAST, STEP = 0.25, 0.005
local FACTOR_STEP, LEAST_STEP = 0.005, 0.2
local CALM = 4000          -- ms without a 429 that double a step
local LEAST_FACTOR = 0.5   -- of what was declared: 429s that no cut helps against cost no more
local STRAY = 0.15        -- share of 429s that may come whatever is sent
local STRAY_CALLS = 64    -- that the share is a mean of
local TESTED = 32         -- calls after the deepest cut that tell whether it has helped
local SPARED = 60000      -- ms for which cuts that have helped nothing are not tried again
local MORE, MORE_STILL = 2, 0.1 -- 429s that are no strays: times their share, and on top of it
local FIRST_WINDOW, STRAY_WINDOW, MOST_WINDOW = 16, 8, 1024
local CROWDED = 2          -- times as long as the quickest answers lately
local LEAST_HEARD = 16     -- answers before anything is said of how long they take
local RECHECK, SELDOM = 10000, 320000 -- ms from a trial to the next; twice as many after each
local PATIENCE = 20        -- and so many times what an answer takes, at least
local PASSED = 2           -- times what an answer takes: until a window shows in the answers
local TRIAL_LEAST, TRIAL_MOST = 48, 128 -- answers that a window is judged by
local AS_SLOW, SEE_AFTER = 0.6, 8 -- of the answers a second: that is seen after so many
local ENOUGH, SPARE = 0.88, 1.5 -- of the answers a second; calls for those that a window needs
local EXPRESS_SEEN = 60000 -- ms
local PROBES, PROBE_EVERY = 3, 250 -- ms from a 429 to the first probe; twice as many after each
local PROBE_PATIENCE = 30000 -- ms after the last probe: an answer may still come
local REOPENING = 4000     -- ms for the call that goes first when a pause has stood
local LOOK = 100           -- ms after which to ask again how a trial stands
local KEPT = 3600000       -- ms that an unused scope is remembered

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local DIMENSIONS = {'requests', 'tokens', 'input', 'output'}

local function living_holders()
  redis.call('HSET', KEYS[1], ask.holder, now)
  local seen = redis.call('HGETALL', KEYS[1])
  local living, count = {}, 0
  for i = 1, #seen, 2 do
    if now - tonumber(seen[i + 1]) > ask.expiry then
      redis.call('HDEL', KEYS[1], seen[i])
    else
      living[seen[i]], count = true, count + 1
    end
  end
  redis.call('PEXPIRE', KEYS[1], KEPT)
  return living, count
end

local function read_state(key)
  local fields = redis.call('HGETALL', key)
  local state = {}
  for i = 1, #fields, 2 do state[fields[i]] = tonumber(fields[i + 1]) end
  return state
end

-- When its pauses end: one that stands, and one of a 429.
local function halted(state) return math.max(state.pause or 0, state.doubt or 0) end

-- A 429's pause that has stood to its end: all probes were refused.
local function has_stood(state)
  return (state.doubt or 0) <= now and (state.probes or 0) >= PROBES and (state.denied or 0) > 0
end

local function is_tried(state)
  return has_stood(state) or (state.doubt or 0) > now
    and ((state.probes or 0) < PROBES or now < (state.probe_at or 0))
end

-- Milliseconds for which a 429 is in the way, and whether a probe may go all the same.
local function doubted(state)
  if has_stood(state) then return LOOK, true end
  local left = (state.doubt or 0) - now
  if left <= 0 then return 0, false end
  if not is_tried(state) then return left, false end
  if (state.probes or 0) >= PROBES then return math.min(left, LOOK), false end
  local until_probe = (state.probe_at or 0) - now
  return math.min(left, LOOK, math.max(1, until_probe)), until_probe <= 0
end

-- A probe goes. One that goes at the end of a pause that stood speaks of no earlier time.
local function count_probe(state)
  if has_stood(state) then
    state.probes, state.denied, state.doubt = PROBES + 1, 0, now + REOPENING
    state.probe_at = state.doubt
    return
  end
  state.probes = (state.probes or 0) + 1
  state.probe_at = now + (state.probes < PROBES and PROBE_EVERY * 2 ^ state.probes or PROBE_PATIENCE)
end

local function count_flying(key, living, mine)
  redis.call('HSET', key, ask.holder, mine)
  local flying, entries = 0, redis.call('HGETALL', key)
  for i = 1, #entries, 2 do
    if living[entries[i]] then
      flying = flying + tonumber(entries[i + 1])
    else
      redis.call('HDEL', key, entries[i])
    end
  end
  return flying
end

-- Whether answers take so much longer than they did that calls may queue at the provider. What an
-- answer takes is a mean of about half a window; the first ones to come back are the quickest.
local function is_crowded(state, scope)
  if scope.answered > 0 then
    state.heard = (state.heard or 0) + scope.answered
    local span = math.min(state.heard, math.max(LEAST_HEARD, state.window / 2))
    local mean = math.max(1, scope.answered_ms / scope.answered)
    local last = state.latency or mean
    state.latency = last + (mean - last) * math.min(1, scope.answered / span)
    if state.heard >= LEAST_HEARD then
      state.quick = math.min(state.latency, state.quick or state.latency)
    end
  end
  return state.quick ~= nil and state.latency > CROWDED * state.quick
end

-- Whether 429s are so few among the answers that they may come whatever is sent.
local function is_stray(state) return (state.refusals or 1) < STRAY end

local function count_refusals(state, scope)
  local calls = scope.answered + scope.refused
  if calls == 0 then return end
  if state.tested then state.tested = state.tested + calls end
  state.seen = math.min(STRAY_CALLS, (state.seen or 0) + calls)
  local share = state.refusals or 0
  state.refusals = share + (scope.refused / calls - share) * math.min(1, calls / state.seen)
end

-- Whether a 429 of the present epoch came that is to cut: none is while cuts have lately helped
-- nothing and 429s have not become many more.
local function is_spared(state)
  local many = math.max(STRAY, MORE * (state.stray_share or 0) + MORE_STILL)
  return now < (state.spared_until or 0) and (state.refusals or 1) < many
end

local function is_due(state)
  if (state.throttled or -1) < state.epoch then return false end
  if not is_spared(state) then return true end
  state.epoch = state.throttled + 1
  return false
end

-- The deepest cut has helped nothing: as many calls are refused as before. A window then goes on
-- to grow as if none had been.
local function give_up(state, knob)
  if knob == 'window' then state.slow, state.window_knee = nil, nil end
  state.epoch = math.max(state.epoch, state.throttled) + 1
  state.spared_until, state.stray_share, state.tested = now + SPARED, state.refusals, nil
  return state[knob .. '_top']
end

local function cut(state, knob, value, least)
  if value <= least and (state.tested or 0) >= TESTED and is_stray(state) then
    return give_up(state, knob)
  end
  local windowed, soon = knob == 'window', now - (state.cut_at or 0) < SOON
  local by = soon and DEEP_CUT or windowed and WINDOW_CUT or CUT
  if windowed and state.slow ~= 0 then soon, by = true, HALVE end
  local top = knob .. '_top'
  state[top] = soon and math.max(state[top] or 0, value) or value
  state[knob .. '_knee'], state.cut_at = value, now
  if knob == 'window' then state.slow = 0 end
  state.epoch = math.max(state.epoch, state.throttled) + 1
  -- Where cuts have helped nothing, neither does waiting for the provider to recover, nor where a
  -- probe was answered meanwhile. Nor has it
  -- anything to recover from where calls at once are the limit, which the cut alone keeps: that
  -- it is another limit shows in the next 429 soon after.
  local recovers = now >= (state.strays_until or 0) and (value * by >= least or not is_stray(state))
  if recovers and (soon or not windowed) then
    state.pause = math.max(state.pause or 0, now + HOLD)
  end
  if value * by > least then state.tested = nil else state.tested = state.tested or 0 end
  return math.max(least, value * by)
end

-- What a knob has grown to; `step` is what it gains a second at the slowest. The longer there
-- was no 429, the larger the steps: a provider that has recovered is found within a minute.
local function grown(state, knob, value, seconds, step)
  local near = knob == 'window' and WINDOW_NEAR or NEAR
  if value < near * (state[knob .. '_knee'] or 0) then return value * (1 + FAST * seconds) end
  return value + step * (1 + (now - (state.cut_at or now)) / CALM) * seconds
end

local function adapt_factor(state, seconds)
  if is_due(state) then
    state.factor = cut(state, 'factor', state.factor, LEAST_FACTOR)
  elseif #ask.asks > 0 then
    state.factor = math.min(1, grown(state, 'factor', state.factor, seconds, FACTOR_STEP))
  end
end

-- Answers count from when those are through whose calls went before the window was so large.
local function measure(state, window)
  state.window = window
  state.trial_from = now + PASSED * state.latency
  state.trial_answers, state.trial_ms = 0, 0
end

local function end_trial(state, window)
  state.window = window
  for _, name in ipairs({'before', 'most_tried', 'trial_pace', 'trial_from', 'trial_answers', 'trial_ms'}) do
    state[name] = nil
  end
end

-- When the next trial may be.
local function put_off(state, recheck)
  state.recheck = math.min(SELDOM, recheck)
  state.next_trial = now + math.max(state.recheck, PATIENCE * state.latency)
end

-- Half of the calls take as long as all of them: answers have become longer by themselves.
local function grow_on(state)
  state.slow, state.window_knee = nil, nil
  put_off(state, RECHECK)
  end_trial(state, state.before)
end

local function settle(state, window)
  put_off(state, 2 * (state.recheck or RECHECK))
  end_trial(state, math.max(2, window))
  state.slow, state.window_knee = 0, state.window
end

-- How many answers a second a window brings says how long they take.
local function judge(state, mean)
  local pace = state.window / mean
  state.latency = mean
  if not state.trial_pace then
    state.trial_pace, state.most_tried = pace, state.window
  elseif pace < ENOUGH * state.trial_pace then
    state.quick = mean
    if state.before < state.most_tried then return settle(state, SPARE * state.before) end
    if pace < AS_SLOW * state.trial_pace then return grow_on(state) end
    return settle(state, state.before)
  end
  if state.window < 2 then return settle(state, SPARE * state.window) end
  state.before = state.window
  measure(state, math.floor(state.window / 2))
end

local function try(state, scope, wanted)
  if not wanted then return end_trial(state, state.before or state.window) end
  if now < state.trial_from or scope.answered == 0 then return end
  state.trial_answers = state.trial_answers + scope.answered
  state.trial_ms = state.trial_ms + scope.answered_ms
  local mean = math.max(1, state.trial_ms / state.trial_answers)
  local few = state.trial_pace and state.trial_answers >= SEE_AFTER
    and state.window / mean < AS_SLOW * state.trial_pace
  local enough = math.max(TRIAL_LEAST, math.min(TRIAL_MOST, 2 * state.window))
  if few or state.trial_answers >= enough then judge(state, mean) end
end

local function stay(state, wanted)
  if state.slow ~= 0 then state.slow, state.window_knee = 0, state.window end
  if wanted and now >= (state.next_trial or 0) then measure(state, math.floor(state.window)) end
end

local function adapt_window(state, scope, seconds)
  local crowded = is_crowded(state, scope)
  local wanted = now - (state.full_at or 0) < 1000
  if is_due(state) then
    if state.trial_from then end_trial(state, state.before or state.window) end
    state.window = cut(state, 'window', state.window, math.min(state.window, is_stray(state) and STRAY_WINDOW or 1))
  elseif state.trial_from then
    try(state, scope, wanted)
  elseif crowded then
    stay(state, wanted)
  elseif wanted and state.slow ~= 0 then
    state.window = state.window + scope.answered * (state.quick or 1) / (state.latency or 1)
  elseif wanted then
    local step = math.max(LEAST_STEP, STEP * state.window)
    state.window = grown(state, 'window', state.window, seconds, step)
  end
  state.window = math.min(MOST_WINDOW, state.window)
end

-- Sets the state's factor or its window after what the provider said and what is asked for.
local function adapt(state, scope, declared)
  local seconds = math.min(1000, now - (state.grown_at or now)) / 1000
  state.factor, state.window = state.factor or 1, state.window or FIRST_WINDOW
  state.grown_at = now
  count_refusals(state, scope)
  if declared then adapt_factor(state, seconds) else adapt_window(state, scope, seconds) end
end

local function rate_in_force(declared, told, factor)
  local rate = declared
  if told > 0 and (rate == 0 or told < rate) then rate = told end
  return rate * factor
end

-- What the headers of the latest answer said: a limit to keep, and that less is left than we
-- believe. They never raise what was declared.
local function hear(state, scope)
  for d, name in ipairs(DIMENSIONS) do
    if scope.told[d] > 0 then state["told_" .. name] = scope.told[d] end
  end
end

local function fill(state, scope)
  local declared = {scope.rpm, scope.tpm, scope.input_tpm, scope.output_tpm}
  local told = {}
  for d, name in ipairs(DIMENSIONS) do told[d] = state["told_" .. name] or 0 end
  local back = {scope.back_requests, scope.back_input + scope.back_output, scope.back_input,
    scope.back_output}
  local rated = false
  for d = 1, 4 do rated = rated or declared[d] > 0 or told[d] > 0 end
  if scope.adapts then adapt(state, scope, rated or scope.in_flight > 0) end
  -- Nothing fills in a pause: all at once afterwards would only bring the next 429.
  local passed = math.max(0, now - math.max(state.at or now, halted(state))) / 60000
  local buckets = {}
  for d, name in ipairs(DIMENSIONS) do
    local rate = rate_in_force(declared[d], told[d], state.factor or 1)
    local holds = rate * SPAN / 60
    if d == 1 then holds = math.max(1.5, holds) end
    local level = math.min(holds, (state[name] or 0) + rate * passed + back[d])
    if scope.left[d] >= 0 then level = math.min(level, scope.left[d]) end
    local kept = ask.express and 0 or ask.share * (d == 1 and holds - 1 or holds)
    buckets[d] = {rate = rate, holds = holds, level = level, kept = kept}
  end
  return buckets, rated
end

local function calls_at_once(state, scope, rated)
  local most = scope.in_flight
  if scope.adapts and not rated then
    most = most > 0 and math.max(1, math.floor(most * state.factor)) or math.floor(state.window)
  end
  local open = most
  if ask.express then
    state.express_at = now
  elseif most > 1 and now - (state.express_at or 0) < EXPRESS_SEEN then
    open = most - math.max(1, math.floor(ask.share * most))
  end
  return most, open
end

local living, holders = living_holders()
local CALLS, PAUSE = 5, 6
local scopes, paused, pausing = {}, 0, 0
for n, scope in ipairs(ask.scopes) do
  local state = read_state(KEYS[2 * n])
  state.epoch = state.epoch or 0
  hear(state, scope)
  local buckets, rated = fill(state, scope)
  local most, open = calls_at_once(state, scope, rated)
  local flying = count_flying(KEYS[2 * n + 1], living, scope.mine)
  local limited = {}
  for d = 1, 4 do if buckets[d].rate > 0 then limited[#limited + 1] = d end end
  scopes[n] = {state = state, buckets = buckets, limited = limited, most = most, open = open,
    flying = flying}
  if (state.pause or 0) - now > paused then paused, pausing = state.pause - now, n end
end
-- Only a line has 429s.
local doubt, probing = doubted(scopes[1].state)
probing = probing and paused <= 0
if doubt > paused then paused, pausing = doubt, 1 end

-- Milliseconds until the bucket has enough for the call, and for some of those after it; 0 now.
local function wait_of(bucket, need, pending, small)
  local enough = small and need or math.min(need, bucket.holds / 2)
  if bucket.level >= enough + bucket.kept then return 0 end
  local some = math.min(pending, bucket.rate * WORTH / 60, bucket.holds - bucket.kept)
  local missing = math.max(enough, some) + bucket.kept - bucket.level
  return math.ceil(missing * 60000 / bucket.rate)
end

local needs, pending = {}, {#ask.asks, 0, 0, 0}
for n = 1, #ask.asks do
  local input, output = ask.asks[n][1], ask.asks[n][2]
  needs[n] = {1, input + output, input, output}
  for d = 2, 4 do pending[d] = pending[d] + needs[n][d] end
end

local granted, wait, full, whose, what = 0, 0, 0, 0, 0
-- The number of a scope that takes no more calls at once.
local crammed
for n = 1, probing and math.min(1, #ask.asks) or paused > 0 and 0 or #ask.asks do
  local need = needs[n]
  for number, one in ipairs(scopes) do
    if one.most > 0 and one.flying >= one.open then
      full, crammed, one.state.full_at = 1, number, now
    end
    for _, d in ipairs(one.limited) do
      -- A probe goes on credit: its line's buckets have not filled in the pause.
      local its = probing and number == 1 and 0 or wait_of(one.buckets[d], need[d], pending[d], d == 1)
      if its > wait then wait, whose, what = its, number, d end
    end
  end
  if full == 1 or wait > 0 then break end
  for _, one in ipairs(scopes) do
    one.flying = one.flying + 1
    for _, d in ipairs(one.limited) do
      one.buckets[d].level = one.buckets[d].level - need[d]
    end
  end
  for d = 1, 4 do pending[d] = pending[d] - need[d] end
  granted = granted + 1
end
probing = probing and granted == 1
if probing then count_probe(scopes[1].state) end
if paused > wait then wait, whose, what = paused, pausing, PAUSE end
if full == 1 then wait, whose, what = 50, crammed, CALLS end

local answer = {granted, granted < #ask.asks and math.max(1, wait) or 0, full, holders, whose, what,
  probing and 1 or 0}
for n, one in ipairs(scopes) do
  local state, fields = one.state, {}
  state.at, state.most = now, one.most
  for d, name in ipairs(DIMENSIONS) do
    state[name] = one.buckets[d].rate > 0 and one.buckets[d].level or nil
    state[name .. '_rate'] = one.buckets[d].rate
  end
  for name, value in pairs(state) do
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%.17g', value)
  end
  -- What is no more must not come back with the next question.
  redis.call('DEL', KEYS[2 * n])
  redis.call('HSET', KEYS[2 * n], unpack(fields))
  redis.call('PEXPIRE', KEYS[2 * n], KEPT + math.max(0, halted(state) - now))
  if granted > 0 then
    redis.call('HSET', KEYS[2 * n + 1], ask.holder, ask.scopes[n].mine + granted)
  end
  redis.call('PEXPIRE', KEYS[2 * n + 1], KEPT)
  answer[#answer + 1] = math.max(0, (state.pause or 0) - now)
  answer[#answer + 1] = math.max(has_stood(state) and LOOK or 0, (state.doubt or 0) - now)
  answer[#answer + 1] = is_tried(state) and 1 or 0
  answer[#answer + 1] = (is_spared(state) or now < (state.strays_until or 0)) and 1 or 0
  answer[#answer + 1] = state.epoch
  answer[#answer + 1] = one.most
  for d = 1, 4 do answer[#answer + 1] = math.floor(one.buckets[d].rate) end
end
return answer
