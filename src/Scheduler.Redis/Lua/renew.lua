-- Extends grants, never creates one. KEYS: locks. ARGV: owner and milliseconds of each.
-- Answers one letter for each key (R renewed, V revoked, L lost) and the server's time.
local held = redis.call('MGET', unpack(KEYS))
local outcomes = {}
for i = 1, #KEYS do
  local value = held[i]
  local owner = ARGV[2 * i - 1] .. '\n'
  if not value or string.sub(value, 3, 2 + #owner) ~= owner then
    outcomes[i] = 'L'
  elseif string.byte(value, 2) == 49 then
    outcomes[i] = 'V'
  else
    redis.call('PEXPIRE', KEYS[i], ARGV[2 * i])
    outcomes[i] = 'R'
  end
end
local time = redis.call('TIME')
return {table.concat(outcomes), time[1] * 1000000 + time[2]}
