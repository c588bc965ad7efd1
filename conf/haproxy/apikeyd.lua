-- apikeyd for HAProxy: two actions of `http-request`.
--
-- lua.apikeyd asks apikeyd, through the internal frontend, whether the key of a request may do what it asks for. Admitted: "admitted" in txn.apikeyd, and what
-- the backend and the client are told in further variables. Denied: what to answer, for lua.apikeyd_deny, which answers and ends the request.
-- In every other case - an error, no answer, one that is not understood - both do nothing, and the line behind them in haproxy.cfg refuses.

local SOCKET = "unix@/run/haproxy/apikeyd.sock" -- `bind` of the frontend apikeyd_internal
local TIMEOUT_MS = 8000                         -- above the timeouts of the backend apikeyd

-- Of the client's headers apikeyd sees these alone. By exact name: HAProxy keeps X_Api_Key apart, FastCGI would not.
local PASSED = {
    "authorization",
    "x-api-key",
    "referer",           -- keys restricted to referrers
    "x-app-id",          -- keys restricted to applications: the setting app_header
    "origin",            -- these and below: browsers send them (reject_browsers)
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "sec-fetch-user",
    "sec-fetch-storage-access",
    "x-forwarded-for",   -- heeded by apikeyd if HAProxy's own peer is one of trusted_proxies
    "x-forwarded-proto",
}

-- What goes into one question, bytes. HAProxy leaves params out for which its buffer has no room, without a word: these are far below tune.bufsize.
local URI_MAX = 8000    -- there twice
local PASSED_MAX = 6000 -- names and values of all headers above

-- Header of an admission: variable.
local IDENTITY = {
    ["apikey-id"] = "txn.apikeyd_id",
    ["apikey-owner"] = "txn.apikeyd_owner",
    ["apikey-plan"] = "txn.apikeyd_plan",
    ["apikey-scopes"] = "txn.apikeyd_scopes",
    ["apikey-meta"] = "txn.apikeyd_meta",
    ["ratelimit-policy"] = "txn.apikeyd_policy",
    ["ratelimit"] = "txn.apikeyd_limit",
    ["x-ratelimit-limit"] = "txn.apikeyd_x_limit",
    ["x-ratelimit-remaining"] = "txn.apikeyd_x_remaining",
    ["x-ratelimit-reset"] = "txn.apikeyd_x_reset",
    ["apikey-rotate-by"] = "txn.apikeyd_rotate_by",
}

-- Headers of a denial that its client gets.
local DENIAL = {
    "www-authenticate", "ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after", "apikey-denied",
    "apikey-rotate-by",
}
local DENIED = { ["400"] = 400, ["401"] = 401, ["403"] = 403, ["429"] = 429, ["500"] = 500, ["503"] = 503 }

-- Too much to ask: the verdict of apikeyd itself for oversized input.
local TOO_LARGE = '{"type":"urn:apikeyd:problem:request_invalid","title":"Ambiguous credentials","status":400,'
    .. '"detail":"The headers or the URL are too long.","code":"request_invalid","instance":"urn:apikeyd:request:%s"}'

-- The headers of the question, or nil when they are too long.
local function question(txn)
    local client, uri = txn.http:req_get_headers(), txn.sf:url()
    local headers = {
        ["x-apikeyd-request"] = { txn:get_var("txn.apikeyd_request") },
        ["x-apikeyd-scope"] = { txn:get_var("txn.apikeyd_scope") or "" },
        ["x-apikeyd-cost"] = { tostring(txn:get_var("txn.apikeyd_cost") or 1) },
        ["x-apikeyd-method"] = { txn.sf:method() },
        ["x-apikeyd-scheme"] = { (txn.f:ssl_fc() == 1 or txn.f:ssl_fc() == true) and "https" or "http" },
        ["x-apikeyd-uri"] = { uri },
        ["x-apikeyd-addr"] = { txn.sf:src() },
    }
    local bytes = 0
    for _, name in ipairs(PASSED) do
        local values = client[name]
        if values then
            -- Each occurrence as it came: which of two credentials counts is not decided here.
            headers[name] = {}
            for i = 0, #values do
                headers[name][i + 1] = values[i]
                bytes = bytes + #name + #values[i] + 4
            end
        end
    end
    return #uri <= URI_MAX and bytes <= PASSED_MAX and headers or nil
end

core.register_action("apikeyd", { "http-req" }, function(txn)
    local headers = question(txn)
    if not headers then
        txn:set_priv({ status = 400, problem = TOO_LARGE:format(txn:get_var("txn.apikeyd_request")), headers = { ["apikey-denied"] = "request_invalid" } })
        return
    end
    local answer = core.httpclient():get({ url = "http://apikeyd/", dst = SOCKET, headers = headers, timeout = TIMEOUT_MS })
    local function said(name)
        local values = answer.headers and answer.headers[name]
        return values and values[0]
    end

    -- 204 and an id: no other server that might listen there says that.
    if answer.status == 204 and said("apikey-id") then
        for name, variable in pairs(IDENTITY) do
            if said(name) then txn:set_var(variable, said(name)) end
        end
        txn:set_var("txn.apikeyd", "admitted")
    elseif (answer.status == 401 or answer.status == 403) and DENIED[said("apikey-status")] and said("apikey-problem") then
        local told = {}
        for _, name in ipairs(DENIAL) do
            told[name] = said(name)
        end
        txn:set_priv({ status = DENIED[said("apikey-status")], problem = said("apikey-problem"), headers = told })
    end
end)

core.register_action("apikeyd_deny", { "http-req" }, function(txn)
    local denial = txn:get_priv()
    if not denial then return end
    local reply = txn:reply({ status = denial.status })
    for name, value in pairs(denial.headers) do
        reply:add_header(name, value)
    end
    reply:add_header("Content-Type", "application/problem+json")
    reply:add_header("Cache-Control", "no-store")
    reply:set_body(denial.problem)
    txn:done(reply)
end)
