-- wrk: each request carries one key, drawn at random, of the file named after `--` (one key a line).
-- The requests are formatted once, so that a request costs wrk a table look-up. At the end: one line of JSON.

local requests = {}

function init(args)
   for key in io.lines(args[1]) do
      wrk.headers["X-API-Key"] = key
      requests[#requests + 1] = wrk.format("GET")
   end
   math.randomseed(os.time())
end

function request()
   return requests[math.random(#requests)]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
