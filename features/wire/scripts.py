"""What Redis does in one atomic step: the store's scripts, each over keys of one user's slot.

A user's record is laid out in `packing.py`; bytes are counted from 1 here: header 1-8, arrival of the newest
event 9-16, rate 17-32, first event 33-40, watched ms 41-48, counters 49-128, history from 129 on.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, Final

import redis

from features.contracts import (
    DAY_MS,
    DEVICES,
    EVENTS,
    HISTORY_LENGTH,
    HOUR_BUCKETS,
    MAX_EVENTS_A_DAY,
    MAX_EVENTS_A_MINUTE,
)
from features.packing import EVENT_ROW, HEADER, MOVED, USER, USER_HEAD, prefix
from features.wire.nodes import Client, Command, pipelined

HISTORY_TTL_S: Final = 90 * 86_400
DEDUPE_WINDOW_S: Final = 48 * 3600

_COUNTERS: Final = len(EVENTS) + HOUR_BUCKETS + len(DEVICES)
_ROWS_AT: Final = HEADER.size + USER_HEAD.itemsize + 1


def _escaped(content: bytes) -> str:
    """The bytes as a string of Lua."""
    return "'" + "".join(f"\\{byte:03d}" for byte in content) + "'"


_COMMON: Final = f"""
local PREFIX, MOVED = {_escaped(prefix(USER))}, {_escaped(prefix(MOVED))}
local HEAD = '<i8I4I4I4I4i8i8{"I4" * _COUNTERS}'
local RECEIVED, MINUTE, IN_MINUTE, DAY, IN_DAY, FIRST, WATCH = 1, 2, 3, 4, 5, 6, 7
local KINDS, HOURS, DEVICES = 8, {8 + len(EVENTS)}, {8 + len(EVENTS) + HOUR_BUCKETS}
local LIMIT, SIZE = {HISTORY_LENGTH}, {EVENT_ROW.itemsize}
local function open(packed)
  if packed then return {{struct.unpack(HEAD, packed, 9)}}, string.sub(packed, {_ROWS_AT}) end
  return {{{", ".join(["0"] * (7 + _COUNTERS))}}}, ''
end
local function close(user, rows)
  if #rows > LIMIT * SIZE then rows = string.sub(rows, 1, LIMIT * SIZE) end
  local head = struct.pack(HEAD, unpack(user, 1, {7 + _COUNTERS}))
  return PREFIX .. struct.pack('<I2', #rows / SIZE) .. head .. rows
end
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
"""

ACCEPT: Final = (
    _COMMON
    + f"""
local packed = redis.call('GET', KEYS[1])
if packed then
  local start = string.sub(packed, 1, #PREFIX)
  if start == MOVED then return {{string.sub(packed, 9)}} end
  if start ~= PREFIX then return redis.error_reply('MISMATCH user') end
elseif redis.call('SISMEMBER', KEYS[4], ARGV[1]) == 1 then
  return redis.error_reply('ERASED')
end
local user, rows = open(packed)
local now = ARGV[2] == '' and clock() or tonumber(ARGV[2])
local received = math.max(now, user[RECEIVED] + 1)
local minute, day = math.floor(received / 60000), math.floor(received / 86400000)
local unit, age = 268435456, minute - 26297280
if user[MINUTE] ~= minute then
  if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[3]) then return redis.error_reply('FULL') end
  local old = string.format('(%.0f', (age - {DEDUPE_WINDOW_S // 60}) * unit)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', old)
  user[MINUTE], user[IN_MINUTE] = minute, 0
end
if user[DAY] ~= day then user[DAY], user[IN_DAY] = day, 0 end
local accepted, duplicates, conflicts, excess, kept = 0, 0, 0, 0, false
for i = 4, #ARGV, 2 do
  local fixed, tail = ARGV[i], ARGV[i + 1]
  local id, head, row = string.sub(fixed, 1, 16), string.sub(fixed, 32, 39), string.sub(fixed, 40)
  local offset, device, watch, digest = struct.unpack('<i2i1i8I4', fixed, 17)
  local ts = struct.unpack('<i8', row, 9)
  if ts > received then
    ts = received
    row = string.sub(row, 1, 8) .. struct.pack('<i8', ts) .. string.sub(row, 17)
  end
  if redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', age * unit + digest), id) == 1 then
    local over = user[IN_MINUTE] >= {MAX_EVENTS_A_MINUTE} or user[IN_DAY] >= {MAX_EVENTS_A_DAY}
    user[IN_MINUTE], user[IN_DAY] = user[IN_MINUTE] + 1, user[IN_DAY] + 1
    accepted = accepted + 1
    if over then
      excess = excess + 1
    else
      local kind = string.byte(row, 21)
      kept = true
      user[KINDS + kind] = user[KINDS + kind] + 1
      user[WATCH] = user[WATCH] + watch
      if kind > 0 then
        local part = HOURS + math.floor(((ts + offset * 60000) % 86400000) / {DAY_MS // HOUR_BUCKETS})
        user[part] = user[part] + 1
        if device >= 0 then user[DEVICES + device] = user[DEVICES + device] + 1 end
        if user[FIRST] == 0 or ts < user[FIRST] then user[FIRST] = ts end
        local at = 1
        while at <= #rows and struct.unpack('<i8', rows, at + 8) > ts do at = at + SIZE end
        if at == 1 then rows = row .. rows
        elseif at <= LIMIT * SIZE then rows = string.sub(rows, 1, at - 1) .. row .. string.sub(rows, at) end
      end
    end
    local arrived = struct.pack('<i8I1', received, over and 1 or 0)
    redis.call('XADD', KEYS[3], '*', 'e', head .. row .. arrived .. tail)
  elseif tonumber(redis.call('ZSCORE', KEYS[2], id)) % unit == digest then
    duplicates = duplicates + 1
  else
    conflicts = conflicts + 1
    redis.call('XADD', KEYS[3], '*', 'c', head .. row .. struct.pack('<i8I1', received, 0) .. tail)
  end
end
if kept then user[RECEIVED] = received end
if accepted > 0 then
  redis.call('SET', KEYS[1], close(user, rows), 'EX', {HISTORY_TTL_S})
  if user[IN_MINUTE] == accepted then redis.call('EXPIRE', KEYS[2], {DEDUPE_WINDOW_S}) end
end
return {{accepted, duplicates, conflicts, excess, received}}
"""
)
"""Takes a user's events: those not met in the window are counted, join the history by time, and go out.

Keys: record, identities of the window, outbox, erased users of the slot. Arguments: hash of the user,
the time or nothing, bound of the outbox; for each event the two parts of `packing.event_parts`. A score holds
minutes since 2020 and, in its lower 28 bits, the digest of the payload. What happens once a minute for a user
is done at the first event of the minute.
"""

LOAD: Final = """
if redis.call('SISMEMBER', KEYS[2], ARGV[5]) == 1 then return 1 end
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
own), the prefix of moved records, which stay, and the hash of the user: of one who was erased while the log
was being read (second key: erased users of the slot) nothing is brought back.
"""

LEAVE: Final = f"""
local packed = redis.call('GET', KEYS[1])
if packed and string.sub(packed, 1, 6) == string.sub(ARGV[1], 1, 6) then
  if packed ~= ARGV[1] then return redis.error_reply('ELSEWHERE') end
else
  if packed then
    if string.sub(packed, 1, 6) ~= ARGV[2] then return redis.error_reply('MISMATCH user') end
    redis.call('SET', KEYS[2], packed, 'EX', {HISTORY_TTL_S})
  end
  redis.call('SET', KEYS[1], ARGV[1])
end
local record = redis.call('GET', KEYS[2])
if not record then return false end
return {{record, redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')}}
"""
"""First step of a merge, in the slot of the user who goes: the record is laid aside, a moved one put there.

Arguments: the moved record and the prefix of users' records. Returns the record and the identities of the
window, until the merge is done. What is laid aside ends no later than the second step's note of it.
"""

POINT: Final = """
local packed, came = redis.call('GET', KEYS[1]), redis.call('EXISTS', KEYS[2]) * 2
if came == 0 and packed and string.sub(packed, 1, 6) ~= string.sub(ARGV[1], 1, 6) then came = 1 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return {came, redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')}
"""
"""Puts a moved record in a user's place, before the other's is loaded from a log that has the events of both.

Returns 1 where a record stood there, 2 where one was laid aside by a merge that was cut off, else 0, and the
identities of the window.
"""

JOIN: Final = (
    _COMMON
    + f"""
local packed = redis.call('GET', KEYS[1])
if packed then
  local start = string.sub(packed, 1, #PREFIX)
  if start == MOVED then return redis.error_reply('ELSEWHERE') end
  if start ~= PREFIX then return redis.error_reply('MISMATCH user') end
end
if string.sub(ARGV[1], 1, #PREFIX) ~= PREFIX then return redis.error_reply('MISMATCH user') end
local into, ours = open(packed)
local from, theirs = open(ARGV[1])
local now = ARGV[2] == '' and clock() or tonumber(ARGV[2])
into[RECEIVED] = math.max(now, into[RECEIVED] + 1)
if redis.call('SET', KEYS[2], into[RECEIVED], 'NX', 'EX', {HISTORY_TTL_S}) == false then return 0 end
for place = KINDS, {7 + _COUNTERS} do into[place] = into[place] + from[place] end
into[WATCH] = into[WATCH] + from[WATCH]
if into[FIRST] == 0 or (from[FIRST] > 0 and from[FIRST] < into[FIRST]) then into[FIRST] = from[FIRST] end
local rows, i, j = {{}}, 1, 1
while #rows < LIMIT and (i <= #ours or j <= #theirs) do
  local theirs_next = j <= #theirs
  if theirs_next and i <= #ours then
    theirs_next = struct.unpack('<i8', theirs, j + 8) >= struct.unpack('<i8', ours, i + 8)
  end
  if theirs_next then
    rows[#rows + 1], j = string.sub(theirs, j, j + SIZE - 1), j + SIZE
  else
    rows[#rows + 1], i = string.sub(ours, i, i + SIZE - 1), i + SIZE
  end
end
redis.call('SET', KEYS[1], close(into, table.concat(rows)), 'EX', {HISTORY_TTL_S})
for i = 3, #ARGV, 2 do redis.call('ZADD', KEYS[3], 'NX', ARGV[i + 1], ARGV[i]) end
if #ARGV > 2 then redis.call('EXPIRE', KEYS[3], {DEDUPE_WINDOW_S}) end
return into[RECEIVED]
"""
)
"""Second step of a merge, in the slot of the user who stays: counters are added, histories joined by time.

Of equal times the newcomer's events are the newer: they arrived with the merge. A merge done before is 0.
Arguments: the record, the time or nothing, then identities and scores of the window.
"""

EXPOSE: Final = """
redis.call('XADD', KEYS[1], '*', 'x', ARGV[1])
local lost = redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[2])
if lost > 0 then redis.call('INCRBY', KEYS[2], lost) end
return lost
"""
"""Adds a slate to a stream, and counts what its bound cost."""


def run(client: Client, commands: list[Command], keys: int) -> list[Any]:
    """Replies to scripts, errors among them: each is called by its hash; a node that lacks one is sent it.

    Args:
        client: of Redis.
        commands: script, its keys, its arguments.
        keys: how many of them are keys.
    """
    slots = [command[1] for command in commands]
    hashed = [("EVALSHA", _sha(command[0]), keys, *command[1:]) for command in commands]
    replies = pipelined(client, slots, hashed)
    lacking = [p for p, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
    if lacking:
        whole = [("EVAL", commands[place][0], keys, *commands[place][1:]) for place in lacking]
        again = pipelined(client, [slots[place] for place in lacking], whole)
        for place, reply in zip(lacking, again, strict=True):
            replies[place] = reply
    return replies


@functools.cache
def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
