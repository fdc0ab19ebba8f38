"""What Redis does in one atomic step: the store's scripts, each over keys of one user's slot.

A user's record is laid out in `packing.py`; bytes are counted from 1 here: header 1-8, arrival of the newest
event 9-16, rate 17-32, first event 33-40, watched ms 41-48, counters 49-128, history from 129 on.
"""

from __future__ import annotations

from typing import Final

from features.contracts import DEVICES, EVENTS, HOUR_BUCKETS
from features.packing import HEADER, USER_HEAD

_COUNTERS: Final = len(EVENTS) + HOUR_BUCKETS + len(DEVICES)
_ROWS_AT: Final = HEADER.size + USER_HEAD.itemsize + 1
_HOURS_AT: Final = len(EVENTS)
_DEVICES_AT: Final = len(EVENTS) + HOUR_BUCKETS

_COMMON: Final = f"""
local COUNTERS = '<{"I4" * _COUNTERS}'
local function open(packed)
  local user = {{received = 0, minute = 0, in_minute = 0, day = 0, in_day = 0, first = 0, watch = 0}}
  if not packed then
    user.counts, user.rows = {{{", ".join(["0"] * _COUNTERS)}}}, ''
    return user
  end
  user.received, user.minute, user.in_minute, user.day, user.in_day, user.first, user.watch =
    struct.unpack('<i8I4I4I4I4i8i8', packed, 9)
  user.counts = {{struct.unpack(COUNTERS, packed, 49)}}
  user.rows = string.sub(packed, {_ROWS_AT})
  return user
end
local function close(user, prefix, size)
  return prefix .. struct.pack('<I2i8I4I4I4I4i8i8', #user.rows / size, user.received, user.minute,
    user.in_minute, user.day, user.in_day, user.first, user.watch)
    .. struct.pack(COUNTERS, unpack(user.counts, 1, {_COUNTERS})) .. user.rows
end
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
"""

ACCEPT: Final = (
    _COMMON
    + f"""
local prefix, moved, limit, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local window, size, bound = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[10])
if redis.call('SISMEMBER', KEYS[4], ARGV[7]) == 1 then return redis.error_reply('ERASED') end
local packed = redis.call('GET', KEYS[1])
if packed then
  local start = string.sub(packed, 1, #prefix)
  if start == moved then return {{string.sub(packed, 9)}} end
  if start ~= prefix then return redis.error_reply('MISMATCH user') end
end
if redis.call('XLEN', KEYS[3]) + (#ARGV - 11) / 5 > bound then return redis.error_reply('FULL') end
local user = open(packed)
local now = ARGV[11] == '' and clock() or tonumber(ARGV[11])
local received = math.max(now, user.received + 1)
local minute, day = math.floor(received / 60000), math.floor(received / 86400000)
if user.minute ~= minute then user.minute, user.in_minute = minute, 0 end
if user.day ~= day then user.day, user.in_day = day, 0 end
local unit = 268435456
local age = minute - 26297280
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. string.format('%.0f', (age - window / 60) * unit))
local accepted, duplicates, conflicts, excess, kept = 0, 0, 0, 0, false
for i = 12, #ARGV, 5 do
  local row, tail = ARGV[i + 1], ARGV[i + 4]
  local offset, device, watch, digest = struct.unpack('<i2i1i8I4', ARGV[i + 2])
  local ts = struct.unpack('<i8', row, 9)
  if ts > received then
    ts = received
    row = string.sub(row, 1, 8) .. struct.pack('<i8', ts) .. string.sub(row, 17)
  end
  if redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', age * unit + digest), ARGV[i]) == 1 then
    local over = user.in_minute >= tonumber(ARGV[8]) or user.in_day >= tonumber(ARGV[9])
    user.in_minute, user.in_day = user.in_minute + 1, user.in_day + 1
    accepted = accepted + 1
    if over then
      excess = excess + 1
    else
      local kind = string.byte(row, 21)
      kept = true
      user.counts[kind + 1] = user.counts[kind + 1] + 1
      user.watch = user.watch + watch
      if kind > 0 then
        local part = math.floor(((ts + offset * 60000) % 86400000) / {86_400_000 // HOUR_BUCKETS})
        user.counts[{_HOURS_AT + 1} + part] = user.counts[{_HOURS_AT + 1} + part] + 1
        if device >= 0 then
          user.counts[{_DEVICES_AT + 1} + device] = user.counts[{_DEVICES_AT + 1} + device] + 1
        end
        if user.first == 0 or ts < user.first then user.first = ts end
        local rows, at = user.rows, 1
        while at <= #rows and struct.unpack('<i8', rows, at + 8) > ts do at = at + size end
        user.rows = string.sub(string.sub(rows, 1, at - 1) .. row .. string.sub(rows, at), 1, limit * size)
      end
    end
    redis.call('XADD', KEYS[3], '*', 'e',
      ARGV[i + 3] .. row .. struct.pack('<i8I1', received, over and 1 or 0) .. tail)
  elseif math.floor(tonumber(redis.call('ZSCORE', KEYS[2], ARGV[i]))) % unit == digest then
    duplicates = duplicates + 1
  else
    conflicts = conflicts + 1
    redis.call('XADD', KEYS[3], '*', 'c', ARGV[i + 3] .. row .. struct.pack('<i8I1', received, 0) .. tail)
  end
end
if kept then user.received = received end
if accepted > 0 then redis.call('SET', KEYS[1], close(user, prefix, size), 'EX', ttl) end
redis.call('EXPIRE', KEYS[2], window)
return {{accepted, duplicates, conflicts, excess, received}}
"""
)
"""Takes a user's events: those not met in the window are counted, join the history by time, and go out.

Keys: record, identities of the window, outbox, erased users of the slot. Arguments: prefixes of a user's and
of a moved record, length of a history, its TTL, window in s, bytes of a row, hash of the user, events a minute
and a day, bound of the outbox, the time or nothing; then for each event identity, row, facts, head and tail.
A score holds minutes since 2020 and, in its lower 28 bits, the digest of the payload.
"""

LOAD: Final = """
local have, loaded = redis.call('GET', KEYS[1]), ARGV[1]
if have then
  local start = string.sub(have, 1, 6)
  if start == ARGV[4] then return 1 end
  if start == string.sub(loaded, 1, 6) then
    local last, arrived = struct.unpack('<i8', have, 9), struct.unpack('<i8', loaded, 9)
    local bound = ARGV[3] == '' and arrived or tonumber(ARGV[3])
    if last > bound then return 0 end
    loaded = string.sub(loaded, 1, 8) .. struct.pack('<i8', math.max(last, arrived))
      .. string.sub(have, 17, 32) .. string.sub(loaded, 33)
  end
end
redis.call('SET', KEYS[1], loaded, 'EX', ARGV[2])
return 1
"""
"""Puts a user's record in its place, unless it has taken an event that the log may lack: then 0.

Arguments: the record, its TTL, arrival of the newest event that the log is known to hold (else the record's
own), and the prefix of moved records, which stay.
"""

LEAVE: Final = """
local packed = redis.call('GET', KEYS[1])
if packed and string.sub(packed, 1, 6) == string.sub(ARGV[1], 1, 6) then
  if packed ~= ARGV[1] then return redis.error_reply('ELSEWHERE') end
else
  if packed then redis.call('SET', KEYS[2], packed) end
  redis.call('SET', KEYS[1], ARGV[1])
end
local record = redis.call('GET', KEYS[2])
if not record then return false end
return {record, redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')}
"""
"""First step of a merge, in the slot of the user who goes: the record is laid aside, a moved one put there.

Returns the record and the identities of the window, until the merge is done.
"""

JOIN: Final = (
    _COMMON
    + f"""
local prefix, moved, limit, size = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
local packed = redis.call('GET', KEYS[1])
if packed then
  local start = string.sub(packed, 1, #prefix)
  if start == moved then return redis.error_reply('ELSEWHERE') end
  if start ~= prefix then return redis.error_reply('MISMATCH user') end
end
local into, from = open(packed), open(ARGV[6])
local now = ARGV[8] == '' and clock() or tonumber(ARGV[8])
into.received = math.max(now, into.received + 1)
if redis.call('SET', KEYS[2], into.received, 'NX', 'EX', ARGV[7]) == false then return 0 end
for place = 1, {_COUNTERS} do into.counts[place] = into.counts[place] + from.counts[place] end
into.watch = into.watch + from.watch
if into.first == 0 or (from.first > 0 and from.first < into.first) then into.first = from.first end
local ours, theirs, rows, i, j = into.rows, from.rows, {{}}, 1, 1
while #rows < limit and (i <= #ours or j <= #theirs) do
  local theirs_next = j <= #theirs
  if theirs_next and i <= #ours then
    theirs_next = struct.unpack('<i8', theirs, j + 8) >= struct.unpack('<i8', ours, i + 8)
  end
  if theirs_next then
    rows[#rows + 1], j = string.sub(theirs, j, j + size - 1), j + size
  else
    rows[#rows + 1], i = string.sub(ours, i, i + size - 1), i + size
  end
end
into.rows = table.concat(rows)
redis.call('SET', KEYS[1], close(into, prefix, size), 'EX', ARGV[4])
for i = 9, #ARGV, 2 do redis.call('ZADD', KEYS[3], 'NX', ARGV[i + 1], ARGV[i]) end
redis.call('EXPIRE', KEYS[3], ARGV[7])
return into.received
"""
)
"""Second step of a merge, in the slot of the user who stays: counters are added, histories joined by time.

Of equal times the newcomer's events are the newer: they arrived with the merge. A merge done before is 0.
"""

EXPOSE: Final = """
redis.call('XADD', KEYS[1], '*', 'x', ARGV[1])
local lost = redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[2])
if lost > 0 then redis.call('INCRBY', KEYS[2], lost) end
return lost
"""
"""Adds a slate to a stream, and counts what its bound cost."""
