-- restore writes back what an event proves, where Redis has forgotten it.
--
-- KEYS 1 the entity
-- ARGV 1 operation key  2 state (done, refused, parked)  3 outcome  4 effect, "" for none  5 source and 6 id of the command whose outcome it is
--      7 fingerprint  8 calls  9 money unknown (1, 0), for parked  10 ms of retention  11 what the command was told (conflict, rejected), or ""
--      12 when the outcome was settled (ms)
--
-- Answers {"damaged"} or {"ok"}. What is settled stays as it is, except that what is done is done; so does a claim that has not lapsed: it
-- will be settled. A refusal frees the operation only where its command holds it open: its message will not come back.

local entity, op, state, out, effect = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local told, at = ARGV[11], tonumber(ARGV[12])
local me, fp, calls, unknown, retention = {source = ARGV[5], id = ARGV[6]}, ARGV[7], tonumber(ARGV[8]), ARGV[9] == '1', ARGV[10]

local now = clock()
local rec, open, owned = read(entity, op, 'open', 'owned')
if rec == false or not open or not owned then return {'damaged'} end

local function settled()
  if not rec then return false end
  return rec.st == 'done' or (state ~= 'done' and (rec.st == 'refused' or rec.st == 'parked'))
end

local function under_way()
  return rec and rec.st == 'claimed' and now < rec.lease
end

-- An event that is older than the last claim says nothing about what that one did.
local function my_own()
  return (rec.at or 0) <= at and rec.own and rec.own.source == me.source and rec.own.id == me.id
end

-- keep_answer has the command told again what it was told.
local function keep_answer()
  if told ~= '' then return tell(rec, me, told) end
  rec.ref = rec.ref or {}
  for _, r in ipairs(rec.ref) do
    if r.source == me.source and r.id == me.id then return end
  end
  table.insert(rec.ref, {source = me.source, id = me.id, replay = '0', out = out})
  while #rec.ref > max_refusals do table.remove(rec.ref, 1) end
end

if under_way() or (settled() and state ~= 'refused') then return {'ok'} end
if state == 'refused' then
  rec = rec or {v = 1, st = 'waiting', calls = 0, base = 0, spent = 0, first = now, doubt = false}
  keep_answer()
  if my_own() and not settled() and (rec.replay or '0') == '0' then rec.st, rec.doubt, rec.snap, rec.errand = 'refused', false, nil, nil end
  write(entity, op, rec, open, retention)
  return {'ok'}
end
if state == 'parked' and rec and rec.st ~= 'waiting' then
  -- The event may be older than the record: only what is done puts an end to doubt.
  if not my_own() then return {'ok'} end
  if unknown or rec.st == 'claimed' then raise(rec, 'parked with unknown outcome') end
  rec.st, rec.park = 'parked', {source = me.source, id = me.id, replay = '0', out = out}
  write(entity, op, rec, open, retention)
  return {'ok'}
end
if state == 'parked' and rec and rec.doubt then return {'ok'} end
rec = rec or {v = 1, spent = 0, first = now}
rec.st, rec.own, rec.fp, rec.calls, rec.base, rec.doubt, rec.snap, rec.errand = state, me, fp, calls, calls, false, nil, nil
if effect ~= '' then
  owned[op] = effect
  set_map('owned', owned)
end
if state == 'done' then
  rec.out, rec.park = out, nil
else
  rec.park = {source = me.source, id = me.id, replay = '0', out = out}
  if unknown then raise(rec, 'parked with unknown outcome') end
end
write(entity, op, rec, open, retention)
return {'ok'}
