-- Ends the grant of one owner and tells the group. KEYS: lock. ARGV: owner, channel, key as subscribers know it.
-- Answers 0 (not there), 1 (released), 2 (released, and another replica was refused meanwhile).
local held = redis.call('GET', KEYS[1])
local owner = ARGV[1] .. '\n'
if not held or string.sub(held, 3, 2 + #owner) ~= owner then
  return 0
end
redis.call('DEL', KEYS[1])
-- Not worth an error: a report that is lost costs a poll, and the grant is gone already.
redis.pcall('PUBLISH', ARGV[2], ARGV[3])
return string.byte(held, 1) == 49 and 2 or 1
