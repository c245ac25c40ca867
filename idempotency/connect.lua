-- connect compares the server behind a new connection with the one that a bucket's memory comes from.
--
-- KEYS 1 the bucket's epoch
-- ARGV 1 replication id of the server  2 id for a new epoch
--
-- A server that was restarted, or promoted, has another replication id, and may have lost its last writes. Answers {"ok"}.

local epoch, repl, now = KEYS[1], ARGV[1], clock()

-- Processes that are long gone are forgotten: their claims have been counted.
local fields = redis.call('HGETALL', epoch)
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == 'p:' and tonumber(fields[i + 1]) < now - 86400000 then redis.call('HDEL', epoch, fields[i]) end
end

local known = redis.call('HMGET', epoch, 'repl', 'id')
if known[1] == repl then return {'ok'} end
if known[2] then distrust(epoch, ARGV[2], now) end
keep_alive(epoch, ARGV[2], now, 0)
redis.call('HSET', epoch, 'repl', repl)
return {'ok'}
