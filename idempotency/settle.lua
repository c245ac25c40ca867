-- settle stores how an operation ended and frees the entity.
--
-- KEYS 1 the entity
-- ARGV 1 token  2 operation key  3 state (done, refused, parked)  4 outcome  5 effect, or what it may be, "" for none
--      6 source and 7 id of the command whose outcome it is  8 money unknown (1, 0), for parked  9 ms of retention
--      for a lost claim: 10 doubt it leaves (never, missing, always)  11 owner source  12 owner id  13 fingerprint  14 calls
--      15 the claimant's replay number  16 its sequence  17 its snapshot
--      18 unsent (1, 0): the call that the claim counts was not sent
--      19 the claimant's last answer, where it is not the one whose outcome it is, "" for none  20 its source  21 its id
--
-- Answers {"damaged"}, {"lost"} or {"ok"}. Only done is written over a record that is missing or only waited. A lost claim whose call did
-- or may have moved money leaves doubt in the record.

local entity, token, op, state, out, effect = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local source, id, unknown, retention = ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]
local lost = {leaves = ARGV[10], source = ARGV[11], id = ARGV[12], fp = ARGV[13], calls = tonumber(ARGV[14]), replay = ARGV[15],
  sequence = ARGV[16], snapshot = ARGV[17]}

local rec, open, owned = read(entity, op, 'open', 'owned')
if rec == false or not open or not owned then return {'damaged'} end

local function replay_of_command()
  if rec.own.source == source and rec.own.id == id then return rec.replay or '0' end
  return lost.replay
end

local function refuse()
  local list = {}
  for _, refusal in ipairs(rec.ref or {}) do
    if refusal.source ~= source or refusal.id ~= id then table.insert(list, refusal) end
  end
  table.insert(list, {source = source, id = id, replay = replay_of_command(), out = out})
  while #list > max_refusals do table.remove(list, 1) end
  rec.ref, rec.doubt = list, false
end

local function own()
  if effect ~= '' then owned[op] = effect elseif state ~= 'parked' then owned[op] = nil end
  set_map('owned', owned)
end

local function park()
  rec.park = {source = source, id = id, replay = replay_of_command(), out = out}
  rec.doubt, rec.why = unknown, 'parked with unknown outcome'
end

local function done()
  rec.own, rec.out, rec.doubt = {source = source, id = id}, out, false
end

if state == 'done' and (not rec or rec.st == 'waiting') then
  rec = rec or {v = 1, spent = 0, first = clock(), seen = {lost.sequence}}
  rec.st, rec.tok, rec.fp, rec.calls = 'claimed', token, lost.fp, lost.calls
end
if rec and rec.tok == token and rec.st == state then return {'ok'} end
if not rec or rec.tok ~= token or rec.st ~= 'claimed' then
  leave_doubt(entity, op, rec, open, lost, retention)
  return {'lost'}
end
if state == 'done' then done() elseif state == 'refused' then refuse() else park() end
own()
rec.st, rec.susp, rec.errand = state, nil, nil
if ARGV[18] == '1' then rec.calls = rec.base end
if state ~= 'parked' then rec.snap, rec.park = nil, nil end
if ARGV[19] ~= '' then tell(rec, {source = ARGV[20], id = ARGV[21]}, ARGV[19]) end
write(entity, op, rec, open, retention)
return {'ok'}
