-- One step through the grants whose name matches. ARGV: cursor, pattern, how many keys to look at.
-- Answers the next cursor, then name, value and milliseconds of each grant.
local step = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3], 'TYPE', 'string')
local answer = {step[1]}
for _, name in ipairs(step[2]) do
  local held = redis.call('GET', name)
  if held then
    answer[#answer + 1] = name
    answer[#answer + 1] = held
    answer[#answer + 1] = redis.call('PTTL', name)
  end
end
return answer
