"""Who runs: the stacks (server processes, with their configuration in peers/) and the contestants, each a port and keys of one stack."""

import concurrent.futures
import dataclasses
import os
import secrets
import shutil
import socket
import string
import subprocess

from .arena import PEERS, ROOT, Trouble, run, wait_until
from .load import get

KEYS = 1000
BIG = 1_000_000      # units in 10 s: a limit that is never reached
SMALL = 3            # one that is
BUILD = ROOT / "build-bench"


@dataclasses.dataclass(frozen=True)
class Contestant:
    name: str
    title: str
    stack: str
    port: str = "MAIN"
    keys: str = "many"
    refused: bool = False
    quick: bool = False
    paced: bool = False  # also measured at half of T's load
    warm_up: int = 1     # seconds; just-in-time compilers need more
    faster: str = ""     # why, where it is faster than we are


YARDSTICK = "T"
OURS = "apikeyd"

IN_NGINX = "never leaves nginx's process"

CONTESTANTS = [
    Contestant("T", "**T**: empty libfcgi responder, 4 processes, no keep-alive", "trivial", "ONCE", quick=True, paced=True),
    Contestant("T-keep", "T's program, 32 processes, keep-alive", "trivial", "KEEP", faster="decides nothing, and gives each kept connection a process of its own"),
    Contestant("apikeyd", "**apikeyd**, keep-alive, 1000 keys", "apikeyd", "KEEP", quick=True, paced=True),
    Contestant("apikeyd-once", "apikeyd, no keep-alive", "apikeyd", "ONCE", quick=True),
    Contestant("apikeyd-429", "apikeyd, all refused with 429", "apikeyd", "KEEP", "spent", refused=True, quick=True),
    Contestant("apikeyd-hot", "apikeyd, one hot key", "apikeyd", "KEEP", "one", quick=True),
    Contestant("apikeyd-auth", "apikeyd under auth_request", "apikeyd", "AUTH"),
    Contestant("apikeyd-cores", "apikeyd, nginx with a worker a core", "apikeyd", "KEEP-CORES"),
    Contestant("lua-redis", "nginx + Lua + Redis, sliding log in one EVALSHA", "lua-redis", paced=True),
    Contestant("lua-redis-cores", "nginx + Lua + Redis, nginx with a worker a core", "lua-redis", "MAIN-CORES"),
    Contestant("fastify", "fastify + @fastify/rate-limit + Redis", "fastify", warm_up=8),
    Contestant("flask", "Flask + Redis INCR/EXPIRE, gunicorn, 2 workers", "flask", warm_up=2),
    Contestant("lua-dict", "nginx + Lua shared dict (fixed window, in memory)", "lua-dict", paced=True,
               faster=f"{IN_NGINX}: a counter in shared memory, for windows that may let through twice the limit around their edges; a restart forgets it"),
    Contestant("lua-dict-cores", "nginx + Lua shared dict, nginx with a worker a core", "lua-dict", "MAIN-CORES", faster="is that with more processes"),
    Contestant("limit-req", "nginx limit_req + map of static keys (in memory)", "limit-req",
               faster=f"{IN_NGINX}: keys are in its configuration (a change is a reload), one leaky bucket each and no remaining count; a restart forgets it"),
]


def invent_keys(count):
    """Keys of the length of apikeyd's own, for those who cannot make any."""
    letters = string.ascii_letters + string.digits
    return ["ak_live_" + "".join(secrets.choice(letters) for _ in range(38)) for _ in range(count)]


def save_keys(yard, **keys):
    return {name: yard.secret(f"{name}.keys", "".join(f"{key}\n" for key in some)) for name, some in keys.items()}


def check_gate(yard, port, good, limited):
    """A contestant that lets a junk key in, or never says 429, is not one."""
    def expect(status, key, what):
        got = get(port, key)
        if got != status:
            raise Trouble(f"{yard.name}: {what} got {got}, not {status}\n{yard.logs()}")
    wait_until(lambda: get(port, good) != 502, f"{yard.name} answers")
    expect(200, good, "a good key")
    expect(401, invent_keys(1)[0], "a junk key")
    if not any(get(port, limited) == 429 for _ in range(3 * SMALL)):  # a window may end in between
        raise Trouble(f"{yard.name}: a key with a limit of {SMALL} never got 429\n{yard.logs()}")


# ---- ourselves, and the yardstick ----

def shipped_nginx(yard, fcgi_socket):
    """The shipped conf/nginx with its socket moved; params a second time without kept connections."""
    target = yard.dir / "nginx"
    shutil.copytree(ROOT / "conf" / "nginx", target)
    for path in target.iterdir():
        text = path.read_text().replace("/run/apikeyd/fcgi.sock", str(fcgi_socket)).replace("include apikeyd/", f"include {target}/")
        path.write_text(text)
    params = (target / "params").read_text()
    once = "".join(line for line in params.splitlines(True) if not line.startswith("fastcgi_keep_conn"))
    if once == params:
        raise Trouble("conf/nginx/params lost its fastcgi_keep_conn")
    (target / "params-once").write_text(once)
    yard.filled.update(SHIPPED=target, PARAMS=target / "params", PARAMS_ONCE=target / "params-once")


def trivial(yard):
    run(["cc", "-O2", "-o", yard.dir / "trivial", ROOT / "tests" / "bench" / "trivial.c", "-lfcgi"])
    for name, processes in ("once", 4), ("kept", 32):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(yard.dir / f"{name}.sock"))
            os.chmod(yard.dir / f"{name}.sock", 0o666)
            listener.listen(1024)
            for _ in range(processes):
                yard.start([yard.dir / "trivial"], stdin=listener)
    shipped_nginx(yard, yard.dir / "kept.sock")
    yard.nginx("trivial/site.conf", ["ONCE", "KEEP"])
    return save_keys(yard, many=invent_keys(KEYS))


def apikeyd(yard):
    run([ROOT / "scripts" / "build", BUILD, "CFLAGS=-O2"])
    conf = yard.fill("apikeyd/apikeyd.conf")
    for name in "run", "state":
        (yard.dir / name).mkdir(mode=0o755 if name == "run" else 0o700)
        yard.own(yard.dir / name)

    def apikey(*words):
        return run([BUILD / "apikey", "-c", conf, *words])

    def create(plan, count):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: apikey("create", "--quiet", "--owner", "bench", "--plan", plan).strip(), range(count)))
    apikey("pepper", "add")
    yard.listens(yard.dir / "run" / "fcgi.sock", yard.start([BUILD / "apikeyd", "-f", "-c", conf]))
    wait_until(lambda: subprocess.run([BUILD / "apikey", "-c", conf, "pepper", "list"], capture_output=True).returncode == 0, "the keeper answers")
    apikey("plan", "set", "load", "--limit", f"burst={BIG}/10s", "--limit", f"day={BIG * 10}/1d")
    apikey("plan", "set", "spent", "--limit", f"burst={BIG}/10s", "--limit", "day=1/1d")
    apikey("plan", "set", "small", "--limit", f"burst={SMALL}/10s", "--limit", f"day={BIG * 10}/1d")
    many, spent, (one, limited) = create("load", KEYS), create("spent", KEYS), (*create("load", 1), *create("small", 1))
    shipped_nginx(yard, yard.dir / "run" / "fcgi.sock")
    yard.nginx("apikeyd/site.conf", ["KEEP", "ONCE", "AUTH"])
    check_gate(yard, yard.ports["KEEP"], one, limited)
    for key in spent:
        get(yard.ports["KEEP"], key)
    return save_keys(yard, many=many, spent=spent, one=[one])


# ---- the others ----

def redis_keys(yard, path, keys):
    """The same records for all that ask Redis: key:KEY -> limit and window."""
    import redis
    pipeline = redis.Redis(unix_socket_path=str(path)).pipeline()
    for key, limit in keys.items():
        pipeline.hset(f"key:{key}", mapping={"limit": limit, "window_us": 10_000_000})
    pipeline.execute()


def keys_file(yard, keys):
    """For those that hold keys in memory."""
    return yard.secret("keys.txt", "".join(f"{key} {limit}\n" for key, limit in keys.items()))


def peer(setup):
    """A stack of one port: setup(yard, {key: limit}) starts it."""
    def stack(yard):
        many, (limited,) = invent_keys(KEYS), invent_keys(1)
        setup(yard, {**{key: BIG for key in many}, limited: SMALL})
        check_gate(yard, yard.ports["MAIN"], many[0], limited)
        return save_keys(yard, many=many)
    return stack


@peer
def lua_redis(yard, keys):
    import redis
    path = yard.redis()
    redis_keys(yard, path, keys)
    script = (PEERS / "lua-redis" / "window.lua").read_text()
    (yard.dir / "window.sha1").write_text(redis.Redis(unix_socket_path=str(path)).script_load(script))
    yard.fill("lua-redis/gate.lua")
    yard.nginx("lua-redis/site.conf", ["MAIN"], ["ndk_http_module", "ngx_http_lua_module"])


@peer
def lua_dict(yard, keys):
    keys_file(yard, keys)
    yard.fill("lua-dict/gate.lua")
    yard.nginx("lua-dict/site.conf", ["MAIN"], ["ndk_http_module", "ngx_http_lua_module"])


@peer
def limit_req(yard, keys):
    yard.secret("clients.map", "".join(f'"{key}" {"limited" if limit == SMALL else f"client{i}"};\n' for i, (key, limit) in enumerate(keys.items())))
    yard.nginx("limit-req/site.conf", ["MAIN"])


@peer
def flask(yard, keys):
    path = yard.redis()
    redis_keys(yard, path, keys)
    yard.fill("flask/app.py")
    yard.own(yard.dir)
    yard.listens(yard.dir / "gunicorn.sock", yard.start(["/usr/bin/gunicorn", "--workers", 2, "--worker-class", "gthread", "--threads", 16,
                                                         "--keep-alive", 60, "--umask", "0", "--bind", f"unix:{yard.dir}/gunicorn.sock", "app:app"],
                                                        env={"REDIS_SOCKET": str(path)}))
    yard.nginx("flask/site.conf", ["MAIN"])


@peer
def fastify(yard, keys):
    modules = install_fastify()
    yard.fill("fastify/server.js")
    (yard.dir / "node_modules").symlink_to(modules)
    process = yard.start(["node", "server.js"], env={
        "NODE_ENV": "production", "APP_SOCKET": str(yard.dir / "node.sock"), "REDIS_SOCKET": str(yard.redis()), "PROCESSES": "2",
        "KEYS_FILE": str(keys_file(yard, keys))})
    yard.listens(yard.dir / "node.sock", process)
    yard.nginx("fastify/site.conf", ["MAIN"])


def install_fastify():
    """npm's packages, kept in build-bench for the next time; the folder of modules. fastify 5 needs node 20, which Debian 12 does not have."""
    version = run(["node", "--version"]).strip()
    packages = "package.json" if int(version.lstrip("v").split(".")[0]) >= 20 else "package-node18.json"
    target = BUILD / "fastify"
    wanted = (PEERS / "fastify" / packages).read_text()
    done = target / "installed.json"
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        (target / "package.json").write_text(wanted)
        run(["npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=target)
        done.write_text(wanted)
    return target / "node_modules"


STACKS = {
    "trivial": (trivial, ["gcc", "libfcgi-dev"]),
    "apikeyd": (apikeyd, []),
    "lua-redis": (lua_redis, ["redis-server", "python3-redis", "libnginx-mod-http-lua", "lua-nginx-redis"]),
    "lua-dict": (lua_dict, ["libnginx-mod-http-lua"]),
    "limit-req": (limit_req, []),
    "flask": (flask, ["redis-server", "gunicorn", "python3-flask", "python3-redis", "python3-hiredis"]),
    "fastify": (fastify, ["redis-server", "nodejs", "npm"]),
}
