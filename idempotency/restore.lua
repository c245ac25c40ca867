-- restore writes back what an event proves, where Redis has forgotten it.
--
-- KEYS 1 the entity
-- ARGV 1 operation key  2 state (done, refused, parked)  3 outcome  4 effect, "" for none  5 source and 6 id of the command whose outcome it is
--      7 fingerprint  8 calls  9 money unknown (1, 0), for parked  10 ms of retention  11 what the command was told (conflict, rejected), or ""
--
-- Answers {"damaged"} or {"ok"}. What is settled stays as it is, except that what is done is done; so does a claim that has not lapsed: it
-- will be settled. A refusal frees the operation only where its command holds it open: its message will not come back.

local entity, op, state, out, effect = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local told = ARGV[11]
local me, fp, calls, unknown, retention = {source = ARGV[5], id = ARGV[6]}, ARGV[7], tonumber(ARGV[8]), ARGV[9] == '1', ARGV[10]

local now = clock()
local rec, open, owned = read(entity, op), read_map(entity, 'open'), read_map(entity, 'owned')
if rec == false or not open or not owned then return {'damaged'} end

local function settled()
  if not rec then return false end
  return rec.st == 'done' or (state ~= 'done' and (rec.st == 'refused' or rec.st == 'parked'))
end

local function under_way()
  return rec and rec.st == 'claimed' and now < rec.lease
end

local function my_own()
  return rec and rec.own and rec.own.source == me.source and rec.own.id == me.id
end

if told ~= '' then
  rec = rec or {v = 1, st = 'waiting', calls = 0, base = 0, spent = 0, first = now, doubt = false}
  tell(rec, me, told)
  write(entity, op, rec, open, retention)
end
if settled() or under_way() or (state == 'refused' and not my_own()) then return {'ok'} end
rec = rec or {v = 1, spent = 0, first = now}
rec.st, rec.own, rec.fp, rec.calls, rec.base, rec.doubt, rec.snap = state, me, fp, calls, calls, false, nil
if effect ~= '' then
  owned[op] = effect
  write_map(entity, 'owned', owned)
end
if state == 'done' then
  rec.out, rec.park = out, nil
elseif state == 'parked' then
  rec.park = {source = me.source, id = me.id, replay = '0', out = out}
  if unknown then raise(rec, 'parked with unknown outcome') end
else
  rec.ref = rec.ref or {}
  table.insert(rec.ref, {source = me.source, id = me.id, replay = rec.replay or '0', out = out})
  while #rec.ref > max_refusals do table.remove(rec.ref, 1) end
end
write(entity, op, rec, open, retention)
return {'ok'}
