-- beat keeps a bucket's epoch alive, and tells what can be believed of its memory.
--
-- KEYS 1 the bucket's epoch
-- ARGV 1 id for a new epoch  2 merchant  3 time (ms) up to which its memory must reach, or it is not believed; 0 for any
--      4 the process
--
-- Answers {id, now, time from which on records may be missing (0 for all; now if none are), trusted (1, 0)}.

local epoch, id, merchant, reach, process = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local now = clock()
local e = keep_alive(epoch, id, now, reach, process, 'from:' .. merchant, 'ok:' .. merchant)
local trusted = e[4] == e[1]
return {e[1], digits(now), trusted and e[2] or e[3] or '0', trusted and '1' or '0'}
