-- Marks the grant with one number as revoked; its end stays. KEYS: lock. ARGV: number.
-- Answers whether that grant was there, and the milliseconds until whatever holds the key ends.
local held = redis.call('GET', KEYS[1])
if not held then
  return {0, 0}
end
local left = redis.call('PTTL', KEYS[1])
if string.match(held, '^[^\n]*\n(%d+)\n') ~= ARGV[1] then
  return {0, left}
end
redis.call('SETRANGE', KEYS[1], 1, '1')
return {1, left}
