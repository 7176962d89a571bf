-- The one script that changes an event stream: append all entries, or none.
--
-- KEYS[1]  the job's stream
-- KEYS[2]  deadlines: ZSET job id -> deadline (ms since 1970)
-- ARGV[1]  expect: the id that must be the stream's last one now;
--          '0-0' there is no stream, create it; '*' whatever is there, but not nothing
-- ARGV[2]  the id of the seal
-- ARGV[3]  job id
-- ARGV[4]  deadline (ms since 1970), used when the stream is created
-- ARGV[5]  retention (ms)
-- ARGV[6]  the channel that is told of a seal (sharded pub/sub: it wakes only)
-- ARGV[7…] entries: id, event, data, and so on; ids ascending
--
-- Returns  {1, last id} written; {0, last id} refused, '0-0' when there is no stream; nothing was changed.
-- Error    ids are not ascending: nothing was changed (Lua does not roll back, so they are checked first).

local last = '0-0'
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if top[1] then last = top[1][1] end

local expect, seal = ARGV[1], ARGV[2]
if last == seal then return {0, last} end
if expect == '*' then
  if last == '0-0' then return {0, last} end
elseif expect ~= last then
  return {0, last}
end

local function parts(id)
  local dash = string.find(id, '-', 1, true)
  return tonumber(string.sub(id, 1, dash - 1)), tonumber(string.sub(id, dash + 1))
end

-- An emptied stream cannot be (entries are never deleted), so the last id is also the last generated one.
local epoch, n = parts(last)
for i = 7, #ARGV, 3 do
  local e, m = parts(ARGV[i])
  if e < epoch or (e == epoch and m <= n) then
    return redis.error_reply('ORDER entry ' .. ARGV[i] .. ' does not follow ' .. epoch .. '-' .. n)
  end
  epoch, n = e, m
end

for i = 7, #ARGV, 3 do
  redis.call('XADD', KEYS[1], ARGV[i], 'event', ARGV[i + 1], 'data', ARGV[i + 2])
end
local newest = ARGV[#ARGV - 2]
if newest == seal then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('ZREM', KEYS[2], ARGV[3])
  redis.call('SPUBLISH', ARGV[6], ARGV[3])
elseif last == '0-0' then
  redis.call('PEXPIREAT', KEYS[1], ARGV[4] + ARGV[5])
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
end
return {1, newest}
