-- One kind of request over and over, and the result as a line of JSON.
--
--   wrk … -s request.lua URL -- METHOD HEADERS_FILE [BODY_FILE [TRACE_ID_OFFSETS [hex]]]
--
-- HEADERS_FILE holds `Name: value` lines. With offsets (with commas between), each request carries the same
-- 16 fresh bytes at each of them, or their 32 hexadecimal digits: a trace id that nobody has seen.

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
         local hex, length = args[5] == "hex", args[5] == "hex" and 32 or 16
         local parts, from = {}, 1
         for offset in args[4]:gmatch("%d+") do
            parts[#parts + 1] = body:sub(from, tonumber(offset))
            from = tonumber(offset) + length + 1
         end
         parts[#parts + 1] = body:sub(from)
         random_source = assert(io.open("/dev/urandom", "rb"))
         request = function()
            local id = random_source:read(16)
            if hex then
               id = id:gsub(".", function(byte) return string.format("%02x", byte:byte()) end)
            end
            return wrk.format(nil, nil, nil, table.concat(parts, id))
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
