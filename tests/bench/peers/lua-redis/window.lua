-- Redis: is the key known, and has its window room?  KEYS: the key's record, its log.  Reply: {1 admitted | 0 full | -1 unknown, remaining}
-- One limit (apikeyd's plan in the same table has two), members made unique by a counter inside the record.
local record = redis.call('HMGET', KEYS[1], 'limit', 'window_us')
if not record[1] then
  return {-1, 0}
end
local limit, window = tonumber(record[1]), tonumber(record[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - window)
local used = redis.call('ZCARD', KEYS[2])
if used >= limit then
  return {0, 0}
end
local member = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
redis.call('ZADD', KEYS[2], now, member)
redis.call('PEXPIRE', KEYS[2], math.ceil(window / 1000))
return {1, limit - used - 1}
