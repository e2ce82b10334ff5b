-- One request, over and over: wrk -s load.lua URL -- FILE [COUNT] posts the JSON in FILE, at most COUNT times. At the end
-- it prints what was measured as a line of JSON; wrk's own summary is for people.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  wrk.headers["Content-Type"] = "application/json"
  file:close()
  if args[2] then count_to(tonumber(args[2])) end
end

function count_to(most)
  local posted, sent = wrk.format(), 0
  function request()
    sent = sent + 1
    if sent >= most then wrk.thread:stop() end
    return posted
  end
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests": %d, "seconds": %.6f, "failed": %d, "p50_ms": %.4f, "p99_ms": %.4f}',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
