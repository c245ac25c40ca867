-- connect compares the server behind a new connection with the one that a bucket's memory comes from.
--
-- KEYS 1 the bucket's epoch
-- ARGV 1 replication id of the server  2 id for a new epoch  3 when this process was here last (ms), 0 if it was not
--
-- A server that was restarted, or promoted, has another replication id, and may have lost its last writes. Where it still has the last one
-- of this process, it has all before that. Answers {"ok"}.

local epoch, repl, last = KEYS[1], ARGV[1], tonumber(ARGV[3])

local e = redis.call('HMGET', epoch, 'repl', 'alive')
if e[1] == repl then return {'ok'} end
local now = clock()
if e[1] and (last == 0 or tonumber(e[2] or '0') < last) then distrust(epoch, ARGV[2], now) end
keep_alive(epoch, ARGV[2], now)
redis.call('HSET', epoch, 'repl', repl)
return {'ok'}
