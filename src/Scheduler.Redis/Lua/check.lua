-- Decides whether this node may grant. KEYS: store, node, forgot, redlock.
-- ARGV: run id that INFO showed, use (new, used, unknown), longest lease in ms, durable (0 or 1), id for a new store.
-- Answers the store's id, what was found, and the milliseconds that must still pass (0: checked, and noted in `node`).
local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
local run = string.match(info, 'run_id:(%w+)')
if run ~= ARGV[1] then
  return redis.error_reply('UNCHECKED another node answers now')
end
local id = redis.call('HGET', KEYS[1], 'id')
local node = redis.call('GET', KEYS[2])
if id and node == run then
  redis.call('HSET', KEYS[1], 'durable', ARGV[4])
  return {id, 'checked', 0}
end

local longest = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Both ends of the uptime are cut to whole seconds, so it may say up to a second too much.
local uptime = (tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) - 1) * 1000
local promoted = string.match(info, 'master_replid2:(%w+)') ~= string.rep('0', 40)
local forgot = redis.call('GET', KEYS[3])

local what
local left = 0
local notice = forgot
-- Whether what it knows may be older than what it granted: restarted, restored or promoted.
local older = false
if id and node and not promoted then
  what = 'restarted'
  if ARGV[4] ~= '1' or redis.call('HGET', KEYS[1], 'durable') ~= '1' then
    left = longest - uptime
    older = true
  else
    notice = false
  end
elseif id then
  what = 'promoted'
  notice = true
  older = true
elseif ARGV[2] == 'used' then
  what = 'forgot'
  left = longest - uptime
  notice = true
elseif ARGV[2] == 'unknown' then
  what = 'unknown'
  left = longest - uptime
else
  what = 'new'
end
if notice then
  -- Noted in the store itself, so that all replicas wait for the same end and a restarted one does not begin again.
  local since
  if forgot then
    local of, at = string.match(forgot, '^(%w+) (%d+)$')
    since = of == run and tonumber(at)
  end
  if not since or since > now then
    since = now
    redis.call('SET', KEYS[3], run .. ' ' .. string.format('%.0f', now), 'PX', 2 * longest + 60000)
  end
  left = math.max(left, longest - (now - since))
end
if left > 0 then
  return {id or '', what, left}
end
if older then
  -- As a node of a Redlock it has no say any more in which store this is.
  redis.call('DEL', KEYS[4])
end
if older or not id then
  -- Another store than the one that granted before, so that State raises the generation of the tokens.
  id = ARGV[5]
end
redis.call('HSET', KEYS[1], 'id', id, 'durable', ARGV[4])
redis.call('SET', KEYS[2], run)
redis.call('DEL', KEYS[3])
return {id, what, 0}
