// fastify with its own rate limiter on Redis, one process a core. Keys are in each process's memory, as @fastify/bearer-auth holds them
// (a key revoked is one restart away): Redis is asked once a request.
'use strict'

const cluster = require('node:cluster')
const fs = require('node:fs')

const WINDOW_MS = 10000
const { APP_SOCKET, KEYS_FILE, PROCESSES, REDIS_SOCKET } = process.env

if (cluster.isPrimary) {
  for (let i = 0; i < Number(PROCESSES); i++) cluster.fork()
  cluster.on('exit', () => process.exit(1))
} else {
  serve()
}

async function serve () {
  const fastify = require('fastify')({ logger: false })
  const { Redis } = require('ioredis')
  const redis = new Redis({ path: REDIS_SOCKET, connectTimeout: 500, maxRetriesPerRequest: 1 })
  const limits = new Map()
  for (const line of fs.readFileSync(KEYS_FILE, 'utf8').trim().split('\n')) {
    const [key, limit] = line.split(' ')
    limits.set(key, Number(limit))
  }

  // Hooks of the root run before those that the plugin gives a route.
  fastify.addHook('onRequest', (request, reply, next) => {
    if (limits.has(request.headers['x-api-key'])) return next()
    reply.code(401).send({ status: 401, code: 'key_invalid' })
  })
  await fastify.register(require('@fastify/rate-limit'), {
    redis,
    timeWindow: WINDOW_MS,
    keyGenerator: (request) => request.headers['x-api-key'],
    max: (request, key) => limits.get(key)
  })
  const schema = { response: { 200: { type: 'object', properties: { message: { type: 'string' } } } } }
  fastify.get('/', { schema }, async () => ({ message: 'Access granted' }))
  await fastify.listen({ path: APP_SOCKET })
  fs.chmodSync(APP_SOCKET, 0o777)
}
