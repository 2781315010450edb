-- One node's vote for an owner. Loaded only after the node was checked; called by its hash only.
-- KEYS: lock, counter, node. ARGV: owner, purpose, milliseconds, proposed number, run id of the node that was checked.
-- Answers the number of the vote (the larger of the proposal and the counter + 1), or the value that holds the key and its
-- milliseconds. The value of a lock is that of acquire.lua.
local found = redis.call('MGET', KEYS[3], KEYS[1], KEYS[2])
if found[1] ~= ARGV[5] then
  return redis.error_reply('UNCHECKED this node forgot its past or is another one')
end
local held = found[2]
if not held then
  local text = ARGV[4]
  local last = tonumber(found[3] or 0)
  if last >= tonumber(text) then
    text = string.format('%.0f', last + 1)
  end
  redis.call('SET', KEYS[2], text)
  if not redis.call('SET', KEYS[1], '00' .. ARGV[1] .. '\n' .. text .. '\n' .. ARGV[2], 'PX', ARGV[3], 'NX') then
    return redis.error_reply('WRONGTYPE the key of the lock holds something that no scheduler wrote')
  end
  return {tonumber(text)}
end
if string.byte(held, 1) == 48 then
  -- As in acquire.lua: only a refusal of another replica makes the grant contended.
  local replica = string.match(ARGV[1], '^.*/')
  if string.sub(held, 3, 2 + #replica) ~= replica then
    redis.call('SETRANGE', KEYS[1], 0, '1')
  end
end
return {held, redis.call('PTTL', KEYS[1])}
