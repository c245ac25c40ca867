-- release gives a claim back without an outcome. Unless a call may have happened it restores the state before the claim.
--
-- KEYS 1 the entity
-- ARGV 1 token  2 operation key  3 unknown (1, 0): a call may have happened  4 ms until the owner comes back  5 ms spent of the retry
--      budget  6 ms of retention
--      for a lost claim: 7 doubt it leaves (never, missing, always)  8 owner source  9 owner id  10 fingerprint  11 calls
--      12 the claimant's replay number  13 its sequence  14 its snapshot
--      15 yield (1, 0): an earlier command of the entity, which has not been here yet, goes first  16 ms of place in the queue
--      17 aside (1, 0): the claimant has not begun; it is suspected as before
--      18 the claimant's last answer, "" for none  19 its source  20 its id
--
-- Answers {"damaged"}, {"lost"} or {"ok"}. The entity stays held until the owner should have come back; in doubt, until it is resolved. A
-- lost claim that may have led to a call leaves doubt in the record. Yielding leaves the operation waiting in its place, and the entity free.

local entity, token, op, unknown = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1'
local wait, spend, retention = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local lost = {leaves = ARGV[7], source = ARGV[8], id = ARGV[9], fp = ARGV[10], calls = tonumber(ARGV[11]), replay = ARGV[12],
  sequence = ARGV[13], snapshot = ARGV[14]}
local yield, place, aside = ARGV[15] == '1', tonumber(ARGV[16]), ARGV[17] == '1'

local rec, open, waiters = read(entity, op, 'open', 'waiters')
if rec == false or not open or not waiters then return {'damaged'} end
if rec and rec.tok == token and (rec.st == 'open' or rec.st == 'waiting') then return {'ok'} end
if not rec or rec.tok ~= token or rec.st ~= 'claimed' then
  leave_doubt(entity, op, rec, open, lost, retention)
  return {'lost'}
end

local now = clock()
if unknown then
  -- Our sending is over; that of an earlier claimant was over before its lease lapsed.
  rec.msu = math.min(rec.msu, now)
  raise(rec, 'outcome unknown')
else
  rec.calls = rec.base
end
rec.st, rec.retry, rec.spent = 'open', now + wait, rec.spent + spend
if not aside then rec.susp = nil end
if ARGV[18] ~= '' then tell(rec, {source = ARGV[19], id = ARGV[20]}, ARGV[18]) end
if yield and not rec.doubt then
  rec.st = 'waiting'
  waiters[lost.sequence] = {op = op, till = now + place}
  set_map('waiters', waiters)
end
write(entity, op, rec, open, retention)
return {'ok'}
