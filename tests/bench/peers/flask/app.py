"""The recipe of many tutorials: Redis INCR and EXPIRE, a fixed window; one pipeline a request, on a kept connection (hiredis parses)."""

import os
import time

import flask
import redis

WINDOW = 10

app = flask.Flask(__name__)
store = redis.Redis(unix_socket_path=os.environ["REDIS_SOCKET"], decode_responses=True)


@app.get("/")
def index():
    key = flask.request.headers.get("X-API-Key", "")
    counter = f"count:{key}:{int(time.time()) // WINDOW}"
    limit, used, _ = store.pipeline(transaction=False).hget(f"key:{key}", "limit").incr(counter).expire(counter, WINDOW).execute()
    if limit is None:
        return {"status": 401, "code": "key_invalid"}, 401
    if used > int(limit):
        return {"status": 429, "code": "rate_limited"}, 429
    return {"message": "Access granted", "remaining": int(limit) - used}
