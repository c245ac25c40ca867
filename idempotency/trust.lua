-- trust ends a bucket's quarantine for a merchant.
--
-- KEYS 1 the bucket's epoch
-- ARGV 1 merchant  2 id of the epoch that was made up for
--
-- Answers {"ok"}, or {"lost"} where another epoch has begun.

if redis.call('HGET', KEYS[1], 'id') ~= ARGV[2] then return {'lost'} end
redis.call('HSET', KEYS[1], 'ok:' .. ARGV[1], ARGV[2])
return {'ok'}
