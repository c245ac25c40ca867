-- pass notes that a message was here and claimed nothing, so that its next delivery does not look like one that Redis has forgotten.
--
-- KEYS 1 the entity
-- ARGV 1 operation key  2 stream sequence  3 ms of retention
--
-- Answers {"damaged"} or {"ok"}.

local entity, op, sequence, retention = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local rec, open = read(entity, op, 'open')
if rec == false or not open then return {'damaged'} end
rec = rec or {v = 1, st = 'waiting', calls = 0, base = 0, spent = 0, first = clock(), doubt = false}
see(rec, sequence)
write(entity, op, rec, open, retention)
return {'ok'}
