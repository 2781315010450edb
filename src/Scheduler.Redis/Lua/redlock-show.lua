-- Shows several keys of one node. KEYS: locks. Answers value (empty: free) and milliseconds of each.
local held = redis.call('MGET', unpack(KEYS))
local answer = {}
for i = 1, #KEYS do
  answer[2 * i - 1] = held[i] or ''
  answer[2 * i] = held[i] and redis.call('PTTL', KEYS[i]) or 0
end
return answer
