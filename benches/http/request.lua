-- One kind of request over and over, and the result as a line of JSON.
--
--   wrk … -s request.lua URL -- METHOD HEADERS_FILE [BODY_FILE [TRACE_ID_OFFSET]]
--
-- HEADERS_FILE holds `Name: value` lines. With an offset, each request carries 16 fresh bytes there:
-- a trace id that nobody has seen.

local random_source

function init(args)
   wrk.method = args[1]
   for line in io.lines(args[2]) do
      local name, value = line:match("^([^:]+):%s*(.*)$")
      if name then wrk.headers[name] = value end
   end
   if args[3] then
      local file = assert(io.open(args[3], "rb"))
      local body = file:read("*a")
      file:close()
      if args[4] then
         local offset = tonumber(args[4])
         local before, after = body:sub(1, offset), body:sub(offset + 17)
         random_source = assert(io.open("/dev/urandom", "rb"))
         request = function()
            return wrk.format(nil, nil, nil, before .. random_source:read(16) .. after)
         end
      else
         wrk.body = body
      end
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %f, "p50_us": %d, "p99_us": %d, "bad_status": %d, "broken": %d, "timeouts": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
