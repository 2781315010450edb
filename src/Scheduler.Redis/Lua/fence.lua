-- Raises a fence, then does the work that stands below, in one script: nobody else is in between.
-- KEYS[1]: the fence. ARGV: lock key, token, seconds for which the fence is kept; behind them keys and values of the work.
-- Value of a fence: token, LF, lock key. Tokens are compared as texts, because they are larger than what Lua counts exactly.
do
  local fence = redis.call('GET', KEYS[1])
  if fence then
    local token, key = string.match(fence, '^(%d+)\n(.*)$')
    if key ~= ARGV[1] then
      return redis.error_reply('FENCEDBY ' .. tostring(key))
    end
    if #token > #ARGV[2] or (#token == #ARGV[2] and token > ARGV[2]) then
      return redis.error_reply('FENCESEEN ' .. token)
    end
  end
  redis.call('SET', KEYS[1], ARGV[2] .. '\n' .. ARGV[1], 'EX', ARGV[3])
end
local function work(KEYS, ARGV)
