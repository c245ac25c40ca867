-- claim asks for one operation on one entity.
--
-- KEYS 1 the entity   2 the bucket's epoch
-- ARGV 1 token  2 operation key  3 command source  4 command id  5 fingerprint  6 stream sequence  7 redelivered (1, 0)  8 replay number
--      9 ms the call may take  10 ms of lease  11 ms of place in the queue  12 probe (1, 0)  13 cautious (1, 0)
--      14 ms of grace after a retry time  15 ms of retention  16 merchant
--      17 id of the epoch that the claimant has made up for as far as it can, "" if it does not look at epochs
--      18 sibling (1, 0): another command of the operation had been delivered by then, and is not done
--      19 the claimant's process  20 alone (0, 1, 2)  21 when it was last here itself (ms)
--      22 errand, "" for none
--
-- Answers {"forgotten"} to a claimant that has not made up for this epoch; {"damaged"} if a record cannot be read; {"lost"} if this very claim was granted and has ended (the script arrived twice, late);
-- else {answer, reason, now, owner source, owner id, outcome, calls, may send until, spent, snapshot, holder, until,
--       doubt (1, 0), waiters ahead, suspicion, errand (for a probe), effects owned by other operations (unless busy)...}
-- where answer is: fresh, in doubt, done, duplicate, refused before, rejected, conflict, busy, parked.

local entity, epoch = KEYS[1], KEYS[2]
local token, op, fp, sequence, replay = ARGV[1], ARGV[2], ARGV[5], ARGV[6], ARGV[8]
local me = {source = ARGV[3], id = ARGV[4]}
local redelivered, probe, cautious = ARGV[7] == '1', ARGV[12] == '1', ARGV[13] == '1'
local call_for, lease, place = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local grace, retention = tonumber(ARGV[14]), ARGV[15]
local merchant, made_up_for, sibling = ARGV[16], ARGV[17], ARGV[18] == '1'
local process, alone = ARGV[19], tonumber(ARGV[20])

local now = clock()
local e = keep_alive(epoch, token, now, tonumber(ARGV[21]), process, 'since', 'ok:' .. merchant)
if made_up_for ~= '' and made_up_for ~= e[1] then return {'forgotten'} end
local quarantined, since = made_up_for ~= '' and e[4] ~= e[1], tonumber(e[3])

local found = redis.call('HMGET', entity, 'op:' .. op, 'open', 'waiters', 'owned', 'gate')
local rec, open, waiters, owned, gate = to_record(found[1]), to_map(found[2]), to_map(found[3]), to_map(found[4]), found[5]
if rec == false or not open or not waiters or not owned then return {'damaged'} end

for s, waiter in pairs(waiters) do
  if waiter.till <= now then waiters[s] = nil end
end

local function mine(who)
  return who ~= nil and who.source == me.source and who.id == me.id
end

local function agrees()
  return fp == '' or (rec.fp or '') == '' or rec.fp == fp
end

-- Gives what a list has of a command.
local function of(list, who)
  for _, entry in ipairs(list or {}) do
    if entry.source == who.source and entry.id == who.id then return entry end
  end
end

local function my_refusal()
  return of(rec.ref, me)
end

local function told()
  local t = of(rec.told, me)
  return t and t.answer
end

-- A probe of the operation in the way does not cost a command its place.
local function leave_queue()
  if waiters[sequence] and waiters[sequence].op == op then
    waiters[sequence] = nil
    set_map('waiters', waiters)
  end
end

local function reply(answer, reason, more)
  more = more or {}
  local own = rec.own or me
  local list = {answer, reason, digits(now), own.source, own.id, more.out or '', digits(rec.calls),
    digits(rec.msu), digits(rec.spent), rec.snap or '', more.holder or '', digits(more.till), rec.doubt and '1' or '0',
    digits(more.ahead), digits(rec.susp), probe and rec.errand or ''}
  if answer == 'busy' then return list end
  local effects = {}
  for other, effect in pairs(owned) do
    if other ~= op then table.insert(effects, effect) end
  end
  table.sort(effects)
  for _, effect in ipairs(effects) do table.insert(list, effect) end
  return list
end

local function granted()
  return reply(rec.ans, rec.reason, {out = rec.park and rec.park.out, till = rec.lease})
end

-- An operation that is over for this command.
local function final()
  local refusal = my_refusal()
  if rec.st == 'done' and mine(rec.own) then return 'done', 'settled', rec.out end
  -- Before "done by another command": this one's answer has been given, and one command has one terminal event.
  -- Nor is there anything that a replay could reopen, once another command has done it.
  if refusal and (rec.st == 'done' or not below(refusal.replay, replay)) then return 'refused before', 'settled', refusal.out end
  if told() then return told(), told() == 'conflict' and 'other fingerprint' or 'never to be called' end
  if rec.st == 'done' and agrees() then return 'duplicate', 'settled', rec.out end
  if rec.st ~= 'refused' and not agrees() then return 'conflict', 'other fingerprint' end
  if rec.st == 'parked' and mine(rec.park) and not below(rec.park.replay, replay) then return 'parked', 'settled', rec.park.out end
end

-- In quarantine a record may be missing, or be older than it looks: of a command that was here before, or has a sibling that was. Once the
-- quarantine is over, all that was missing is on record.
local function doubt_memory()
  if made_up_for == '' then return end
  if not quarantined then
    if rec.why == 'quarantine' then rec.doubt = false end
  elseif rec.ep ~= e[1] and (sibling or redelivered or replay ~= '0') then
    rec.ep = e[1]
    raise(rec, 'quarantine')
  end
  if rec.st == 'none' then rec.ep = e[1] end -- nothing can be missing from a record that begins here
end

-- Redis may have forgotten an earlier claim of this command; from here on the record says so. A replay has a sequence of its own: there
-- the command itself must be on record.
local function hear_witnesses()
  doubt_memory()
  if known(rec, sequence) then return end
  if redelivered then
    raise(rec, 'redelivered without a record')
  elseif replay ~= '0' and not (mine(rec.own) or mine(rec.park) or my_refusal()) then
    raise(rec, 'replay without a record')
  end
end

-- holds says whether an operation keeps others of its entity out.
local function holds(r)
  return r.st == 'claimed' or (r.st == 'open' and (r.doubt or now < r.retry + grace))
end

local function free_at(r)
  return r.st == 'claimed' and r.lease or r.retry + grace
end

-- Another operation that holds the entity: its key and record, or false for a damaged record.
local function holder()
  if gate and gate ~= op then
    local r = read(entity, gate)
    if r == false or (r and holds(r)) then return gate, r end
  end
  if holds(rec) then return nil end
  -- An operation that fell into doubt while another one had the gate.
  local first, doubtful
  for other in pairs(open) do
    local r = other ~= op and read(entity, other)
    if r and r.st == 'open' and r.doubt and (not first or other < first) then first, doubtful = other, r end
  end
  return first, doubtful
end

local function first_waiter()
  local first, ahead = nil, 0
  for s in pairs(waiters) do
    if below(s, sequence) then
      ahead = ahead + 1
      if not first or below(s, first) then first = s end
    end
  end
  return first, ahead
end

-- What this command has to wait for: reason, operation key, time. An answer of "damaged" ends the claim.
local function obstacle()
  if rec.st == 'claimed' and now < rec.lease then return 'claimed', op, rec.lease end
  -- A probe that need not look up will be granted nothing: it is in nobody's way.
  local other, r
  if not probe or cautious or rec.doubt then other, r = holder() end
  if other then
    if not r then return 'damaged' end
    return 'held by ' .. other, other, free_at(r)
  end
  -- The holder itself never waits for those behind it: they wait for the holder.
  local first = not probe and not holds(rec) and (first_waiter())
  if first then return 'behind sequence ' .. first, '', waiters[first].till end
  if rec.st == 'open' and not mine(rec.own) and not mine(rec.cl) and now < rec.retry + grace then
    return 'its owner tries again', op, rec.retry + grace
  end
end

-- A busy answer leaves a record, so that a command that only waited never looks like one that Redis forgot.
local function wait_in_line()
  if rec.st == 'none' then rec.st = 'waiting' end
  if not probe then
    if not rec.own then rec.own, rec.fp = me, fp end
    waiters[sequence] = {op = op, till = now + place}
    set_map('waiters', waiters)
  end
  see(rec, sequence)
  write(entity, op, rec, open, retention)
end

local function grant(answer, reason)
  rec.st, rec.tok, rec.ans, rec.reason, rec.lease, rec.at = 'claimed', token, answer, reason, now + lease, now
  rec.by, rec.alone, rec.cl = process, alone, not mine(rec.own) and me or nil
  if mine(rec.own) and ARGV[22] ~= '' then rec.errand = ARGV[22] end
  if mine(rec.own) and below(rec.replay or '0', replay) then rec.replay = replay end
  set('gate', op)
  see(rec, sequence)
  leave_queue()
  write(entity, op, rec, open, retention)
  return granted()
end

-- A claim that lapsed in the hands of a process that has not been here since is a sign that it took that process down; of any other, it only
-- says that Redis was away. Two of them make a suspect, which is handled alone. Then a crash counts twice, if no other suspect was waiting: who
-- is killed again and again for another reason always has some suspect in hand, and should not be taken for this one's victim.
local function count_crash()
  local seen = tonumber(redis.call('HGET', epoch, 'p:' .. (rec.by or '')) or 0)
  local susp = rec.susp or 0
  if seen <= rec.lease then rec.susp = susp + (susp < 2 and 1 or rec.alone) end
end

-- answered says that the owner has had its last answer. Where Redis had forgotten how it was parked, before that, an event has told of it again.
local function answered(owner)
  local refusal = of(rec.ref, owner)
  return of(rec.told, owner) or (refusal and not below(refusal.replay, rec.replay or '0'))
end

local function grant_doubt(reason)
  raise(rec, reason == 'lease lapsed' and 'outcome unknown' or reason)
  if rec.st == 'refused' then
    rec.own = nil
    if rec.why ~= 'outcome unknown' then rec.calls, rec.msu = 0, nil end
  end
  if rec.st == 'refused' or rec.st == 'parked' then rec.spent = 0 end
  if rec.own and not probe and answered(rec.own) then rec.own = nil end
  if not rec.own then rec.own, rec.fp, rec.replay = me, fp, nil end
  if rec.fp == '' then rec.fp = fp end
  -- Who had a claim that was forgotten has called soon afterwards, or not at all.
  if quarantined then rec.msu = math.max(rec.msu or 0, since + call_for) end
  rec.base, rec.msu = rec.calls, rec.msu or now
  return grant('in doubt', reason)
end

local function fresh_reason()
  if rec.st == 'refused' then return my_refusal() and 'replay reopens' or 'refused before, another command' end
  if rec.st == 'parked' then return mine(rec.park) and 'replay reopens' or 'not sent before' end
  return rec.tok and 'not sent before' or 'never tried'
end

local function grant_fresh(reason)
  if rec.st == 'refused' then rec.calls = 0 end
  if rec.st == 'refused' or rec.st == 'parked' or not mine(rec.own) then rec.spent = 0 end
  if not mine(rec.own) then rec.replay, rec.errand = nil, nil end
  -- A snapshot taken before an earlier try would ascribe to this call what others did in between.
  rec.own, rec.fp, rec.snap, rec.park = me, fp, nil, nil
  rec.base, rec.calls, rec.msu = rec.calls, rec.calls + 1, now + call_for
  return grant('fresh', reason)
end

-- Doubt in a refused operation was left by a late sign of another's call, if this command has never been here, or could never be called.
local function never_called()
  return fp == '' or not (redelivered or replay ~= '0' or known(rec, sequence))
end

-- A probe that need not look up is granted nothing. It gives up what its command had, and leaves word that it was here.
local function give_up()
  if (rec.st == 'waiting' or rec.st == 'open') and mine(rec.own) then
    rec.st, rec.own, rec.fp, rec.errand = 'waiting', nil, '', nil
  end
  if rec.st == 'none' then rec.st = 'waiting' end
  see(rec, sequence)
  leave_queue()
  tell(rec, me, 'rejected')
  write(entity, op, rec, open, retention)
  return reply('rejected', 'never to be called')
end

if rec and rec.tok == token then
  if rec.st == 'claimed' then return granted() end
  return {'lost'}
end
if rec then
  local answer, reason, out = final()
  if answer then
    leave_queue()
    if answer == 'conflict' then
      tell(rec, me, answer)
      write(entity, op, rec, open, retention)
    else
      store(entity)
    end
    return reply(answer, reason, {out = out})
  end
else
  rec = {v = 1, st = 'none', calls = 0, base = 0, spent = 0, first = now, doubt = false}
end
hear_witnesses()
local reason, other, till = obstacle()
if reason == 'damaged' then return {'damaged'} end
if reason then
  wait_in_line()
  local _, ahead = first_waiter()
  return reply('busy', reason, {holder = other, till = till, ahead = ahead})
end
if rec.st == 'claimed' then
  count_crash()
  return grant_doubt('lease lapsed')
end
if probe and rec.st == 'refused' and never_called() then return give_up() end
if rec.doubt then return grant_doubt(rec.why) end
if cautious then return grant_doubt('cautious') end
if probe then return give_up() end
return grant_fresh(fresh_reason())
