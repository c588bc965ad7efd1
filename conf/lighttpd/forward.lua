-- apikeyd for lighttpd: the backend is found; the sign that led to it stays here.

local header, env = lighty.r.req_header, lighty.r.req_env

if header["Apikeyd-Admitted"] then
    header["Apikeyd-Admitted"] = nil
    env["APIKEYD_ADMITTED"] = nil
end
return 0
