-- Ends the grants of their owners and tells the group; a part of the scripts that end any. In KEYS the locks from `first` on; in ARGV, from
-- `at` on, the channel, then the owner of each and its key as subscribers know it. Answers a digit for each: 0 (not there), 1 (released),
-- 2 (released, and another replica was refused meanwhile).
local function ending(first, count, at)
  local locks = {unpack(KEYS, first, first + count - 1)}
  local held = redis.call('MGET', unpack(locks))
  local outcomes, gone, told, seen = {}, {}, {}, {}
  for i = 1, count do
    local value = held[i]
    local owner = ARGV[at + 2 * i - 1] .. '\n'
    if not value or seen[locks[i]] or string.sub(value, 3, 2 + #owner) ~= owner then
      outcomes[i] = '0'
    else
      outcomes[i] = string.byte(value, 1) == 49 and '2' or '1'
      seen[locks[i]] = true
      gone[#gone + 1] = locks[i]
      told[#told + 1] = ARGV[at + 2 * i]
    end
  end
  if #gone > 0 then
    redis.call('DEL', unpack(gone))
    -- Not worth an error: a report that is lost costs a poll, and the grants are gone already.
    redis.pcall('PUBLISH', ARGV[at], table.concat(told, '\n'))
  end
  return table.concat(outcomes)
end
