"""The script that changes a rate limit in a Redis server. It does what `_limits/bucket.py` does.

Redis runs a script without interruption, so a request needs one exchange and no lock. The script uses one
key, so it works in a cluster, and the server's clock, so the machines' clocks do not matter. Numbers are
texts of 17 digits, because Redis cuts the fractions of Lua's numbers, and Lua's own text of a number has 14
digits.
"""

import hashlib
from typing import Final

from thrive_learning._limits.bucket import CLOCK_STEP_S, LONGEST_AHEAD_S, LONGEST_SLOW_S, MOST_STEPS

NOW: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
"""

_CONSTANTS = f"""
local CLOCK_STEP_S, LONGEST_AHEAD_S = {CLOCK_STEP_S!r}, {LONGEST_AHEAD_S!r}
local LONGEST_SLOW_S, MOST_STEPS = {LONGEST_SLOW_S!r}, {MOST_STEPS!r}
"""

_CHANGE = """
local function finite(number)
  return number ~= nil and number == number and math.abs(number) < math.huge
end

local function decode(text)
  local words = {}
  for word in string.gmatch(text, '[^ ]+') do words[#words + 1] = word end
  if words[1] ~= '1' or words[#words] ~= '.' or #words < 4 or #words % 2 ~= 0 then return nil end
  local numbers = {}
  for i = 2, #words - 1 do
    local number = tonumber(words[i])
    if not finite(number) then return nil end
    numbers[#numbers + 1] = number
  end
  local written_at, free_at, steps = numbers[1], numbers[2], {}
  local sensible = written_at <= now + CLOCK_STEP_S and free_at <= written_at + LONGEST_AHEAD_S
    and #numbers <= 2 + 2 * MOST_STEPS
  for i = 3, #numbers, 2 do
    sensible = sensible and numbers[i] <= written_at + LONGEST_SLOW_S and numbers[i + 1] >= 0
    if numbers[i] > now then steps[#steps + 1] = {numbers[i], numbers[i + 1]} end
  end
  if sensible then return free_at, steps end
end

local held = redis.pcall('GET', KEYS[1])
local free_at, steps = decode(type(held) == 'string' and held or '')
if free_at == nil then free_at, steps = now, {} end

local function save()
  local words = {'1', string.format('%.17g', now), string.format('%.17g', free_at)}
  local ends_at = math.max(free_at, now)
  for _, step in ipairs(steps) do
    words[#words + 1] = string.format('%.17g', step[1])
    words[#words + 1] = string.format('%.17g', step[2])
    ends_at = math.max(ends_at, step[1])
  end
  words[#words + 1] = '.'
  -- Redis may drop the state once it equals that of a new limit. CLOCK_STEP_S allows for a clock set back.
  local left_ms = math.ceil((ends_at - now + CLOCK_STEP_S) * 1000)
  redis.call('SET', KEYS[1], table.concat(words, ' '), 'PX', string.format('%.0f', left_ms))
end

local function after_one_more(at, per_second)
  local rest = 1
  for i, step in ipairs(steps) do
    local until_ = step[1]
    if i == #steps and step[2] ~= 0 then until_ = 2 * step[1] - now end
    if until_ > at then
      local rate = math.min(step[2], per_second)
      local room = (until_ - at) * rate
      if room >= rest then return at + rest / rate end
      rest = rest - room
      at = until_
    end
  end
  return at + rest / per_second
end

local function take(per_second, burst, longest_wait_s)
  free_at = math.max(free_at, now)
  local send_at
  if #steps > 0 then
    if steps[1][2] == 0 then free_at = math.max(free_at, steps[1][1]) end
    send_at = free_at
  else
    send_at = math.max(now, free_at - (burst - 1) / per_second)
  end
  if send_at - now <= longest_wait_s then
    free_at = after_one_more(free_at, per_second)
    save()
  end
  return string.format('%.17g', send_at - now)
end

local function add_step(until_, per_second)
  local kept = {}
  for _, step in ipairs(steps) do
    if step[2] <= per_second and step[1] >= until_ then return end
    if step[2] < per_second or step[1] > until_ then kept[#kept + 1] = step end
  end
  kept[#kept + 1] = {until_, per_second}
  table.sort(kept, function(one, other) return one[1] < other[1] end)
  if #kept > MOST_STEPS then
    local later = table.remove(kept)
    kept[#kept][1] = later[1]
  end
  steps = kept
end

local function slow(pause_s, per_second, for_s)
  if pause_s > 0 then add_step(now + math.min(pause_s, LONGEST_SLOW_S), 0) end
  if per_second < math.huge and for_s > 0 then
    add_step(now + math.min(for_s, LONGEST_SLOW_S), math.max(per_second, 0))
  end
  save()
end

local one, two, three = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if ARGV[1] == 'take' then return take(one, two, three) end
slow(one, two, three)
"""

#: Follows the text that sets `now`.
REST: Final = _CONSTANTS + _CHANGE

SCRIPT: Final = NOW + REST

#: The name of the script for `EVALSHA`.
DIGEST: Final = hashlib.sha1(SCRIPT.encode("ascii"), usedforsecurity=False).hexdigest()
