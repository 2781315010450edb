-- The id of the whole store, agreed on by a majority (single-decree Paxos). KEYS: hash. ARGV: what, ballot, id.
-- read: the accepted id and the promised ballot. prepare: 1, accepted id, its ballot, or 0 and the promised ballot.
-- accept: 1, or 0 and the promised ballot.
local has = redis.call('HMGET', KEYS[1], 'id', 'ballot', 'promised')
local promised = tonumber(has[3] or 0)
if ARGV[1] == 'read' then
  return {has[1] or '', string.format('%.0f', promised)}
end
local ballot = tonumber(ARGV[2])
if ARGV[1] == 'prepare' then
  if ballot <= promised then
    return {0, string.format('%.0f', promised)}
  end
  redis.call('HSET', KEYS[1], 'promised', ARGV[2])
  return {1, has[1] or '', has[2] or '0'}
end
if ballot < promised then
  return {0, string.format('%.0f', promised)}
end
redis.call('HSET', KEYS[1], 'promised', ARGV[2], 'ballot', ARGV[2], 'id', ARGV[3])
return {1}
