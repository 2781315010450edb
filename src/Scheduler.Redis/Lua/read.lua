-- Shows the grant of a key. KEYS: lock. Answers its value and its milliseconds, or nothing.
local held = redis.call('GET', KEYS[1])
if not held then
  return {}
end
return {held, redis.call('PTTL', KEYS[1])}
