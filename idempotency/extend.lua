-- extend prolongs a claim, and notes before another call that it is intended.
--
-- KEYS 1 the entity
-- ARGV 1 token  2 operation key  3 ms of lease  4 ms the call may take, 0 to leave that time  5 calls before  6 calls after
--      7 snapshot, "" to keep the stored one  8 proven (1, 0): nothing happened before the intended call  9 ms of retention
--
-- Answers {"damaged"}, {"lost"}, or {"ok", now, until, calls, may send until, doubt (1, 0)}.
-- Calls are sent as absolute numbers: run twice, or arriving late, it does not count twice nor prove what came after it.

local entity, token, op, retention = KEYS[1], ARGV[1], ARGV[2], ARGV[9]
local lease, call_for, from, to = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local snapshot, proven = ARGV[7], ARGV[8] == '1'

local rec, open = read(entity, op, 'open')
if rec == false or not open then return {'damaged'} end
if not rec or rec.tok ~= token or rec.st ~= 'claimed' then return {'lost'} end

local now = clock()
if rec.calls == from or rec.calls == to then
  if proven then rec.doubt, rec.base = false, from end
  if rec.calls < to then
    -- The claim's earlier call is not known to have come to nothing.
    if rec.calls > rec.base then raise(rec, 'outcome unknown') end
    rec.base, rec.calls = from, to
  end
  if call_for > 0 then rec.msu = math.max(rec.msu, now + call_for) end
end
if snapshot ~= '' then rec.snap = snapshot end
-- A claim never lapses while its call may be under way.
rec.lease = math.max(rec.lease, now + lease, rec.msu)
-- Written even where nothing changes: WAIT counts the replicas that have the connection's own last write.
write(entity, op, rec, open, retention)
return {'ok', digits(now), digits(rec.lease), digits(rec.calls), digits(rec.msu), rec.doubt and '1' or '0'}
