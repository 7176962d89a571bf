-- The one script that changes an event stream: append all entries, or none.
--
-- KEYS[1]  the job's stream
-- KEYS[2…] given when the write creates, begins the first attempt or seals, and only then; all of them, so that a user who
--          may not touch one is refused before anything is written (Lua does not roll back):
-- KEYS[2]  deadlines: ZSET job id -> deadline (ms since 1970)
-- KEYS[3]  counters: HASH of whole numbers
-- KEYS[4]  batch jobs: ZSET job id -> when its stream expires (ms since 1970), 'inf' until the job is over
-- KEYS[5]  expiry: ZSET job id -> when the stream of a finished job expires (ms since 1970)
-- KEYS[6…] the index: a ZSET job id -> ms since 1970 for each state, in the order of JOB_STATES
-- ARGV[1]  expect: the id that must be the stream's last one now;
--          '0-0' there is no stream, create it; '*' whatever is there, but not nothing
-- ARGV[2…] runs of entries, four arguments each: id of the first, how many, event, their data joined by newlines
--          (compact JSON holds none); within a run ids count up by one, from run to run they ascend
-- then, with KEYS[2]: job id, deadline (ms since 1970), retention (ms) unless the stream's first entry has one, the channel
-- that a seal is published to (sharded pub/sub: it only wakes), the job's priority (empty: unknown), its state now (which
-- index, from 1), what to add to the counters: field and whole number in turn, with a blank between; '?' is how many tokens
-- the stream had before
--
-- Returns  1 written; the last id, refused: '0-0' when there is no stream; nothing was changed.
-- Error    ids do not ascend: nothing was changed (Lua does not roll back, so they are checked first).

local SEAL = '9007199254740991-1'
local ID = '^(%d+)-(%d+)$'

local stream, expect = KEYS[1], ARGV[1]
local top = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local last = top and top[1] or '0-0'
if last == SEAL then return last end
if expect == '*' then
  if last == '0-0' then return last end
elseif expect ~= last then
  return last
end

local runs_end = KEYS[2] and #ARGV - 7 or #ARGV

-- An emptied stream cannot be (entries are never deleted), so the last id is also the last generated one.
local epoch, n = string.match(last, ID)
epoch, n = tonumber(epoch), tonumber(n)
for i = 2, runs_end, 4 do
  local e, m = string.match(ARGV[i], ID)
  e, m = tonumber(e), tonumber(m)
  if e < epoch or (e == epoch and m <= n) then
    return redis.error_reply('ORDER entry ' .. ARGV[i] .. ' does not follow ' .. last)
  end
  epoch, n = e, m + ARGV[i + 1] - 1
end

for i = 2, runs_end, 4 do
  local id, event, data = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  if ARGV[i + 1] == '1' then
    redis.call('XADD', stream, id, 'event', event, 'data', data)
  else
    local prefix, m = string.match(id, '^(%d+-)(%d+)$')
    m = tonumber(m)
    for line in string.gmatch(data, '[^\n]+') do
      redis.call('XADD', stream, prefix .. m, 'event', event, 'data', line)
      m = m + 1
    end
  end
end

-- How many tokens the stream had: the entry that was the last one says so.
local function published()
  if not top then return 0 end
  local readable, data = pcall(cjson.decode, top[2][4])
  if not readable or type(data) ~= 'table' then return 0 end
  local i = tonumber(data.i)
  return math.floor(i and i + 1 or tonumber(data.tokens_out) or tonumber(data.next_token) or 0)
end

-- What the job asked for is in its first entry, where every writer of a seal finds it.
local function retained(usual, first)
  local readable, data = pcall(cjson.decode, first)
  local own = readable and type(data) == 'table' and tonumber(data.retention_ms)
  return own and own > 0 and string.format('%.0f', own) or usual
end

if KEYS[2] then
  local job, deadline, retention, channel, priority, state, adds = unpack(ARGV, runs_end + 1)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if expect == '0-0' then
    -- The id may have been that of another job, whose events have expired.
    if priority == 'batch' then
      redis.call('ZADD', KEYS[4], 'inf', job)
    elseif priority ~= '' then
      redis.call('ZREM', KEYS[4], job)
    end
  end
  if ARGV[runs_end - 3] == SEAL then
    retention = retained(retention, redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][2][4])
    redis.call('PEXPIRE', stream, retention)
    redis.call('ZADD', KEYS[4], 'XX', now + retention, job)
    redis.call('ZADD', KEYS[5], now + retention, job)
    redis.call('ZREM', KEYS[2], job)
    redis.call('SPUBLISH', channel, job)
  elseif expect == '0-0' then
    redis.call('PEXPIREAT', stream, deadline + retained(retention, ARGV[5]))
    redis.call('ZADD', KEYS[2], deadline, job)
  end
  for i = 6, #KEYS do
    if i - 5 == tonumber(state) then
      redis.call('ZADD', KEYS[i], now, job)
    else
      redis.call('ZREM', KEYS[i], job)
    end
  end
  for field, count in string.gmatch(adds, '(%S+) (%S+)') do
    redis.call('HINCRBY', KEYS[3], field, count == '?' and published() or count)
  end
end
return 1
