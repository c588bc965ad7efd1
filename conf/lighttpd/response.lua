-- apikeyd for lighttpd: the answer of a path that needs a key, on its way to the client.

local r = lighty.r
local env, header = r.req_env, r.resp_header

if env["APIKEY_ID"] then
    -- Admitted, whatever the backend said. One that repeats what it gets would tell the client the key's owner and plan, or deny in the gate's name.
    local drop = {}
    for name in pairs(header) do
        if name:lower():find("^apikey") then
            drop[#drop + 1] = name
        end
    end
    for _, name in ipairs(drop) do
        header[name] = nil
    end
    -- lighttpd drops an authorizer's own headers.
    for name, variable in pairs({
        ["RateLimit-Policy"] = "APIKEY_RATELIMIT_POLICY",
        ["RateLimit"] = "APIKEY_RATELIMIT",
        ["X-RateLimit-Limit"] = "APIKEY_X_LIMIT",
        ["X-RateLimit-Remaining"] = "APIKEY_X_REMAINING",
        ["X-RateLimit-Reset"] = "APIKEY_X_RESET",
        ["Apikey-Rotate-By"] = "APIKEY_ROTATE_BY",
    }) do
        if env[variable] then
            header[name] = env[variable]
        end
    end
    return 0
end

-- Denied, by apikeyd or (400, 405, 411, 413, ...) by lighttpd itself.
local status = r.req_item.http_status
if header["Apikey-Denied"] or (status >= 400 and status < 500 and status ~= 403 and status ~= 404) then
    return 0
end
-- Or answered by apikeyd as the API itself.
if env["APIKEYD_MODE"] == "serve" and status < 500 then
    return 0
end

-- No decision: apikeyd is down or too slow, or the configuration is not whole. Nothing that was found without one goes out.
header["Content-Type"] = "application/problem+json"
header["Cache-Control"] = "no-store"
header["Retry-After"] = "1"
header["Apikey-Denied"] = "unavailable"
r.resp_body.set('{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","title":"Service unavailable","status":503,'
    .. '"detail":"The API key cannot be checked at the moment. Try again.","code":"unavailable","instance":"urn:apikeyd:request:'
    .. (env["APIKEYD_REQUEST_ID"] or "") .. '"}')
return 503
