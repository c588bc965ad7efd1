local redis = require "nginx.redis"

local function deny(status, code)
   ngx.status = status
   ngx.header["Content-Type"] = "application/problem+json"
   ngx.print('{"status":', status, ',"code":"', code, '"}\n')
   return ngx.exit(ngx.OK)
end

local key = ngx.var.http_x_api_key
if not key then
   return deny(401, "key_missing")
end
local red = redis:new()
red:set_timeout(1000)
local ok = red:connect("unix:@DIR@/redis.sock")
if not ok then
   return deny(503, "unavailable")
end
local reply, err = red:evalsha(window_sha1, 2, "key:" .. key, "log:" .. key)
if not reply then
   ngx.log(ngx.ERR, "redis: ", err)
   return deny(503, "unavailable")
end
red:set_keepalive(60000, 64)
if reply[1] == -1 then
   return deny(401, "key_invalid")
end
ngx.header["RateLimit"] = '"main";r=' .. reply[2]
if reply[1] == 0 then
   return deny(429, "rate_limited")
end
ngx.print('{"message":"Access granted","remaining":', reply[2], "}\n")
