-- Ends grants, then takes free keys. Loaded only after the node was checked; called by its hash only.
-- KEYS: counter, node, locks to end, locks to take. ARGV: run id of the node that was checked, how many to end, what `ending` takes, then
-- owner, purpose and milliseconds for each lock to take.
-- Value of a lock: contended flag, revoked flag, owner, LF, number, LF, purpose.
-- Answers the server's time, the number that all grants of this call have (larger than that of every earlier one; a key is granted once
-- in a call), what `ending` answers, an error that ended the call or nothing, and for each lock to take that was looked at: 1 (granted),
-- or milliseconds, LF and value of the grant that holds it, or an error without LF.
local call = redis.call
local found = call('MGET', KEYS[1], KEYS[2])
if found[2] ~= ARGV[1] then
  return redis.error_reply('UNCHECKED this node forgot its past or is another one')
end
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local number = math.max(now, tonumber(found[1] or 0) + 1)
local text = string.format('%.0f', number)
call('SET', KEYS[1], text)
local middle = '\n' .. text .. '\n'
local count = tonumber(ARGV[2])
local ended = ''
if count > 0 then
  ended = ending(3, count, 3)
end
local answer = {now, number, ended, ''}
local at = 4 + 2 * count
for i = 3 + count, #KEYS do
  local owner = ARGV[at]
  local set = redis.pcall('SET', KEYS[i], '00' .. owner .. middle .. ARGV[at + 1], 'PX', ARGV[at + 2], 'NX')
  if set and set.ok then
    answer[#answer + 1] = 1
  else
    if set then
      -- Out of memory, for example: what this call did up to here is told all the same.
      answer[4] = set.err
      break
    end
    local held = redis.pcall('GET', KEYS[i])
    if type(held) ~= 'string' then
      answer[#answer + 1] = 'WRONGTYPE the key of the lock holds something that no scheduler wrote'
    else
      -- Only a refusal of another replica makes the grant contended: waiters of one replica share their wait.
      local replica = string.match(owner, '^.*/')
      if string.byte(held, 1) == 48 and string.sub(held, 3, 2 + #replica) ~= replica then
        call('SETRANGE', KEYS[i], 0, '1')
      end
      answer[#answer + 1] = call('PTTL', KEYS[i]) .. '\n' .. held
    end
  end
  at = at + 3
end
return answer
