-- apikeyd for lighttpd: every request passes here, a request that needs a key three times.
--   1. as the client sent it. Then mod_fastcgi asks apikeyd; a denial goes out and ends it.
--   2. admitted: apikeyd's Variable-* are in req_env, where no client can write. The identity is set, and the sign for lighttpd.conf's block.
--   3. with the sign: the configuration is read again with it, and the backend is found.
-- An error in here is a 500.

local header, env = lighty.r.req_header, lighty.r.req_env
local id, sign = env["APIKEY_ID"], env["APIKEYD_ADMITTED"]

if id and sign and sign ~= "" and header["Apikeyd-Admitted"] == sign then
    return 0
end

-- Only the gate says these. Backends take '_', '.' and the like in a name for '-' (CGI, PHP, WSGI, Rack), so in every spelling. lighttpd, too, hands X_Api_Key
-- to apikeyd as the same param as X-Api-Key: only the exact name is a credential.
local drop = {}
for name in pairs(header) do
    local lower = name:lower()
    local folded = lower:gsub("[^a-z0-9]", "-")
    if folded:find("^apikey") or (folded == "x-api-key" and lower ~= "x-api-key") then
        drop[#drop + 1] = name
    end
end
-- A connection that becomes anything but a WebSocket could carry more requests to the backend, that nobody decides.
local upgrade = header["Upgrade"]
if upgrade and upgrade:lower() ~= "websocket" then
    drop[#drop + 1] = "Upgrade"
end
for _, name in ipairs(drop) do
    header[name] = nil
end

if not id then
    -- Names the request to apikeyd; asked twice for it (lighttpd tries again when a connection breaks), it counts once.
    if not env["APIKEYD_REQUEST_ID"] then
        local words = {}
        for i = 1, 4 do
            words[i] = string.format("%08x", lighty.c.rand() & 0xffffffff)
        end
        env["APIKEYD_REQUEST_ID"] = table.concat(words)
    end
    return 0
end

-- Without the sign nothing behind the gate is found.
if not sign or sign == "" then
    return 0
end
for name, variable in pairs({
    ["Apikey-Id"] = "APIKEY_ID",
    ["Apikey-Owner"] = "APIKEY_OWNER",
    ["Apikey-Plan"] = "APIKEY_PLAN",
    ["Apikey-Scopes"] = "APIKEY_SCOPES",
    ["Apikey-Meta"] = "APIKEY_META",
}) do
    header[name] = env[variable]
end
-- The backend has no business with the key.
header["X-Api-Key"] = nil
header["Authorization"] = nil
header["Apikeyd-Admitted"] = sign
return lighty.RESTART_REQUEST
