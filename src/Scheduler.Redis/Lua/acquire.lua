-- Takes a key if it is free. Loaded only after the node was checked; called by its hash only.
-- KEYS: lock, counter, node. ARGV: owner, purpose, milliseconds, run id of the node that was checked.
-- Value of a lock: contended flag, revoked flag, owner, LF, number, LF, purpose.
local found = redis.call('MGET', KEYS[3], KEYS[1], KEYS[2])
if found[1] ~= ARGV[4] then
  return redis.error_reply('UNCHECKED this node forgot its past or is another one')
end
local held = found[2]
if not held then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local number = now
  local last = tonumber(found[3] or 0)
  if last >= number then
    number = last + 1
  end
  local text = string.format('%.0f', number)
  redis.call('SET', KEYS[2], text)
  if not redis.call('SET', KEYS[1], '00' .. ARGV[1] .. '\n' .. text .. '\n' .. ARGV[2], 'PX', ARGV[3], 'NX') then
    -- MGET shows what is no string as missing.
    return redis.error_reply('WRONGTYPE the key of the lock holds something that no scheduler wrote')
  end
  return {number, now}
end
if string.byte(held, 1) == 48 then
  -- Only a refusal of another replica makes the grant contended: waiters of one replica share their wait.
  local replica = string.match(ARGV[1], '^.*/')
  if string.sub(held, 3, 2 + #replica) ~= replica then
    redis.call('SETRANGE', KEYS[1], 0, '1')
  end
end
return {held, redis.call('PTTL', KEYS[1])}
