-- Shows, confirms or notes which State the group's locks belong to. KEYS: state, node. ARGV: run id of the checked node, milliseconds after
-- which a silent State may be replaced, and to write: id, label, generation. Answers id, label, generation, age in ms; nothing: none.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return redis.error_reply('UNCHECKED this node must be checked first')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local has = redis.call('HMGET', KEYS[1], 'id', 'label', 'generation', 'at')
local age = has[1] and math.max(now - tonumber(has[4]), 0)
if ARGV[3] and (not has[1] or has[1] == ARGV[3] or age >= tonumber(ARGV[2])) then
  local generation = math.max(tonumber(ARGV[5]), tonumber(has[3] or 0))
  has = {ARGV[3], ARGV[4], generation}
  age = 0
  redis.call('HSET', KEYS[1], 'id', ARGV[3], 'label', ARGV[4], 'generation', generation, 'at', string.format('%.0f', now))
end
if not has[1] then
  return {}
end
return {has[1], has[2], tonumber(has[3]), age}
