-- Gives a vote the number on which the nodes agree, if the owner still has it. KEYS: lock, counter. ARGV: owner, number.
-- Answers 1, or 0 when the owner does not have the vote any more; never creates one and never lowers the counter.
local held = redis.call('GET', KEYS[1])
local owner = ARGV[1] .. '\n'
if not held or string.sub(held, 3, 2 + #owner) ~= owner then
  return 0
end
if tonumber(redis.call('GET', KEYS[2]) or 0) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[2], ARGV[2])
end
local rest = string.match(held, '^[^\n]*\n%d+(\n.*)$')
redis.call('SET', KEYS[1], string.sub(held, 1, 2) .. owner .. ARGV[2] .. rest, 'XX', 'KEEPTTL')
return 1
