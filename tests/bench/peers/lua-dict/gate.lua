local WINDOW = 10

local function deny(status, code)
   ngx.status = status
   ngx.header["Content-Type"] = "application/problem+json"
   ngx.print('{"status":', status, ',"code":"', code, '"}\n')
   return ngx.exit(ngx.OK)
end

local key = ngx.var.http_x_api_key
local limit = key and ngx.shared.keys:get(key)
if not limit then
   return deny(401, key and "key_invalid" or "key_missing")
end
local used = ngx.shared.counts:incr(key, 1, 0, WINDOW)
if not used or used > limit then
   return deny(429, "rate_limited")
end
ngx.header["RateLimit"] = '"main";r=' .. limit - used
ngx.print('{"message":"Access granted","remaining":', limit - used, "}\n")
