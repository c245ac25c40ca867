-- What all scripts share; joined in front of each of them.
--
-- One entity is one hash:
--   op:<operation key>  the operation's record, JSON (below)
--   gate                operation key that was granted last; it holds the entity as long as its record says so (holds in claim.lua)
--   open                JSON {operation key: true}: records that must not expire
--   waiters             JSON {stream sequence: {op, till}}: commands that wait for the entity, what for, and until when
--   owned               JSON {operation key: effect}: what done operations brought about, and parked ones may have
-- It expires when no record in it is open; the time to live starts again with every write.
--
-- The epoch of a bucket says how far its memory can be believed:
--   id          made when Redis was found without a memory, or with one that is not believed
--   since       when that was
--   alive       the last time that a worker was here
--   p:<process> the last time that this one was
--   repl        replication id of the server then
--   ok:<name>   the id, once a merchant's records were made up for: until then the bucket is in quarantine for that merchant
--   from:<name> since when records of the merchant may be missing, none for ever
--
-- A record:
--   v       1
--   st      waiting (only waited), claimed, open (released), parked, done, refused
--   own     {source, id} of the command that first claimed it; none after a probe gave it up
--   fp      fingerprint, "" if only probes have been here
--   tok     token of the newest claim, kept after that claim's end so that a script run twice is recognised
--   ans     answer and reason of that claim (reason)
--   cl      {source, id} of the command that has it, if that is not the owner
--   lease   when the claim lapses; at: when it was granted; by: process that has it; alone: 1 if that has nothing else in hand,
--           2 if no other suspect waits there either
--   susp    how far it is suspected of taking processes down: see count_crash
--   msu     when the latest call must have been over ("may send until")
--   calls   calls made, with the one the running claim intends; base: without it
--   doubt   a call may have happened, as of before the running claim's own; why: what raised it
--   spent   of the retry budget; retry: when the owner means to come back
--   replay  highest replay number of the owner
--   snap    snapshot; out: outcome of a done operation; errand: what a look-up has to know, until it is settled
--   park    {source, id, replay, out} of the command that was parked last
--   ref     list of the same, one per refused command, newest last, at most 64
--   told    list of {source, id, answer}: who was answered conflict, or rejected (a probe that need not look up), newest last, at most 64
--   seen    stream sequences of the commands that have been here, newest last, at most 64
--   ep      id of the epoch that it began in, or whose quarantine has raised its doubt
--   first   when the record was made
--
-- Times and spans are in ms: real Redis writes 14 significant digits of a number, which holds milliseconds and not microseconds.
-- Sequences and replay numbers are strings of digits for the same reason. Empty tables are not stored: {} or [] depends on the server.

local max_seen, max_refusals, max_told = 64, 64, 64

-- Whoever only looks changes nothing (foresee in script.go).
local looking = false

local function change(...)
  if not looking then redis.call(...) end
end

local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function digits(n)
  return string.format('%.0f', n or 0)
end

-- below compares strings of digits without leading zeros, exactly.
local function below(a, b)
  return #a < #b or (#a == #b and a < b)
end

-- decode gives the table, nil if there is none, or false if it cannot be read.
local function decode(text)
  if not text then return nil end
  local _, value = pcall(cjson.decode, text)
  if type(value) ~= 'table' then return false end
  return value
end

-- to_record gives a record, nil, or false if it is damaged or of a newer version.
local function to_record(text)
  local rec = decode(text)
  if rec and rec.v ~= 1 then return false end
  return rec
end

-- to_map is never nil, but false if it is damaged.
local function to_map(text)
  local map = decode(text)
  if map == nil then return {} end
  return map
end

-- read gives a record of an operation, and then the fields that are maps.
local function read(entity, op, ...)
  local found = redis.call('HMGET', entity, 'op:' .. op, ...)
  for i = 2, #found do found[i] = to_map(found[i]) end
  return to_record(found[1]), unpack(found, 2)
end

-- What is to be changed in the entity, until it is stored: each command that a script calls costs about as much as all else it does.
local sets, dels = {}, {}

local function set(field, value)
  sets[#sets + 1] = field
  sets[#sets + 1] = value
end

local function set_map(field, map)
  if next(map) then set(field, cjson.encode(map)) else dels[#dels + 1] = field end
end

local function store(entity)
  if #sets > 0 then change('HSET', entity, unpack(sets)) end
  if #dels > 0 then change('HDEL', entity, unpack(dels)) end
end

-- write stores a record with what else has changed, and settles whether the entity may expire.
local function write(entity, op, rec, open, retention)
  if rec.st == 'claimed' or rec.st == 'open' or rec.doubt then open[op] = true else open[op] = nil end
  set('op:' .. op, cjson.encode(rec))
  set_map('open', open)
  store(entity)
  if next(open) then change('PERSIST', entity) else change('PEXPIRE', entity, retention) end
end

-- raise notes that a call may have happened. The first reason is kept, but for quarantine, which ends by itself.
local function raise(rec, why)
  if not rec.doubt or rec.why == 'quarantine' then rec.doubt, rec.why = true, why end
end

-- known says that a delivery of a message is on record.
local function known(rec, sequence)
  for _, s in ipairs(rec.seen or {}) do
    if s == sequence then return true end
  end
  return false
end

local function see(rec, sequence)
  if known(rec, sequence) then return end
  rec.seen = rec.seen or {}
  table.insert(rec.seen, sequence)
  while #rec.seen > max_seen do table.remove(rec.seen, 1) end
end

-- tell notes an answer that grants nothing and is a command's last: it stays its answer, whatever becomes of the operation. A copy of its
-- claim that arrives late would otherwise be granted to nobody.
local function tell(rec, who, answer)
  rec.told = rec.told or {}
  for _, t in ipairs(rec.told) do
    if t.source == who.source and t.id == who.id then return end
  end
  table.insert(rec.told, {source = who.source, id = who.id, answer = answer})
  while #rec.told > max_told do table.remove(rec.told, 1) end
end

-- distrust begins a new epoch. A merchant whose records had been made up for may miss what came after the last sign of life; any other
-- still misses what it missed before.
local function distrust(epoch, id, now)
  local fields = redis.call('HGETALL', epoch)
  local e = {}
  for i = 1, #fields, 2 do e[fields[i]] = fields[i + 1] end
  for name, value in pairs(e) do
    local merchant = string.match(name, '^ok:(.+)$')
    if merchant and value == e.id then change('HSET', epoch, 'from:' .. merchant, e.alive) end
  end
  change('HSET', epoch, 'id', id, 'since', digits(now))
end

-- keep_alive makes the epoch where it is missing, and notes that somebody was here. Written in every claim, also when nothing else is: WAIT
-- counts the replicas that have the connection's own last write.
-- reach is a sign of life that the caller knows of: a memory that ends before it has gone backwards under a living server, as when old keys
-- were put in its place.
-- Gives the id, what was the last sign of life, and other fields of the epoch.
local function keep_alive(epoch, id, now, reach, process, ...)
  local e = redis.call('HMGET', epoch, 'id', 'alive', ...)
  local alive = tonumber(e[2] or 0)
  if not e[1] or alive < reach then
    distrust(epoch, id, now)
    e = redis.call('HMGET', epoch, 'id', 'alive', ...)
  end
  local beat = digits(math.max(alive, now))
  if process then change('HSET', epoch, 'alive', beat, 'p:' .. process, digits(now)) else change('HSET', epoch, 'alive', beat) end
  return e
end

-- leave_doubt is for a claimant that lost its claim, and knows that a call was or may have been made: who holds the record now, or comes
-- later, must look up. lost.leaves says what it leaves: never anything; a record made again, in doubt, if it is missing (then Redis forgot
-- it, and the doubt with it); or always, since its own call may be news to the record.
local function leave_doubt(entity, op, rec, open, lost, retention)
  if lost.leaves == 'never' or (rec and (rec.st == 'done' or lost.leaves == 'missing')) then return end
  if not rec then
    local now = clock()
    rec = {v = 1, st = 'open', own = {source = lost.source, id = lost.id}, fp = lost.fp, msu = now, calls = lost.calls,
      base = lost.calls, spent = 0, retry = now, replay = lost.replay, first = now, seen = {lost.sequence}}
    if lost.snapshot ~= '' then rec.snap = lost.snapshot end
  end
  -- What refused it knew nothing of this call: the next claimant counts it.
  if rec.st == 'refused' then rec.calls, rec.msu = lost.calls, clock() end
  raise(rec, 'outcome unknown')
  write(entity, op, rec, open, retention)
end
