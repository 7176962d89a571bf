import { isRefusal, readJson } from './body.ts'
import { chatRequest } from './chat-request.ts'
import { renderChat } from './chat-template.ts'
import type { Controls } from './control.ts'
import { obey } from './control.ts'
import { generate } from './generate.ts'
import { generateStream } from './generate-stream.ts'
import { ANSWER_FAULTS, countFailure, DOOR_FAULTS } from './generation.ts'
import type { FaultKind } from './faults.ts'
import { health } from './health.ts'
import type { Replica } from './replica.ts'
import type { GenerateRequest } from './request.ts'
import { compatRequest, generateRequest } from './request.ts'
import type { Exchange } from './respond.ts'
import { sendEmpty, sendError, sendJson, sendText } from './respond.ts'
import type { Read } from './serde.ts'
import { encode, simpleTokens } from './tokenizer.ts'

type Handler = (exchange: Exchange) => void | Promise<void>

/** One path and method. */
interface Route {
  readonly path: string
  readonly method: 'GET' | 'POST'
  readonly needsKey?: boolean
  readonly generates?: boolean
  readonly handle: Handler
}

/**
 * Answers every request of a simulator: TGI 3.3.7's own routes, and `/simulator/…` to steer it from outside. The OpenAI routes,
 * `/vertex` and `/invocations` are not implemented (404).
 */
export function createRouter(replica: Replica, controls: Controls): Handler {
  const routes = [
    generatingRoutes(replica),
    asideRoutes(replica),
    tokenizingRoutes(replica),
    controlRoutes(replica, controls),
  ].flat()
  return async (exchange) => {
    const { path, request } = exchange
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '')
    // tower-http's CORS layer answers every preflight itself.
    if (method === 'OPTIONS') return sendPreflight(exchange)
    const known = routes.filter((route) => route.path === path)
    const route = known.find((candidate) => candidate.method === method)
    if (known.length === 0) return sendEmpty(exchange, 404)
    if (route === undefined) {
      const allow = known.map((other) => (other.method === 'GET' ? 'GET,HEAD' : 'POST')).join()
      return sendEmpty(exchange, 405, { allow })
    }
    // Routes that generate are struck once their prompt is known.
    if (route.generates !== true && isStruckAtTheDoor(replica, exchange)) return
    if (route.needsKey === true && !hasKey(replica, exchange)) return sendEmpty(exchange, 401)
    await route.handle(exchange)
  }
}

function sendPreflight(exchange: Exchange): void {
  const methods = {
    'access-control-allow-methods': 'GET,POST',
    'access-control-allow-headers': 'content-type',
  }
  sendEmpty(exchange, 200, methods)
}

/** Keys compare without regard to case, as TGI lower-cases both sides (router/src/server.rs). */
function hasKey({ settings: { apiKey } }: Replica, { request }: Exchange): boolean {
  if (apiKey === undefined) return true
  return request.headers.authorization?.toLowerCase() === `bearer ${apiKey}`.toLowerCase()
}

function isStruckAtTheDoor({ faults }: Replica, exchange: Exchange, prompt?: string): boolean {
  const hits = faults.take(DOOR_FAULTS, { path: exchange.path, prompt, isAside: prompt === undefined })
  if (hits.has('hang-headers')) return true
  if (hits.has('http-401')) sendEmpty(exchange, 401)
  else if (hits.has('http-500')) sendError(exchange, 'incomplete_generation', 'Incomplete generation')
  for (const [kind, [status, text]] of Object.entries(PROXY_ANSWERS)) {
    const hit = hits.get(kind as FaultKind)
    if (hit === undefined) continue
    const { retryAfter } = hit
    sendText(exchange, status, text, retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) })
  }
  return hits.size > 0
}

/** A proxy's error page, in nginx's words. */
const PROXY_ANSWERS = {
  'http-429': [429, 'Too Many Requests'],
  'http-502': [502, 'Bad Gateway'],
  'http-503': [503, 'Service Temporarily Unavailable'],
} as const satisfies Partial<Record<FaultKind, readonly [number, string]>>

/** Reads a body, or refuses it; `undefined` when there is nothing left to do. */
async function receive<T extends object>(
  { settings }: Replica,
  exchange: Exchange,
  read: Read<T>,
): Promise<T | undefined> {
  const body = await readJson(exchange.request, settings.payloadLimit, read)
  if (body === undefined || exchange.response.destroyed) return undefined
  if (!isRefusal(body)) return body
  sendText(exchange, body.status, body.text)
  return undefined
}

function generatingRoutes(replica: Replica): readonly Route[] {
  type Shape = (request: GenerateRequest) => 'stream' | 'object' | 'array'
  const handler = (read: Read<GenerateRequest>, shapeOf: Shape, returnsFullText: boolean): Handler => {
    return async (exchange) => {
      const given = await receive(replica, exchange, read)
      if (given === undefined || isStruckAtTheDoor(replica, exchange, given.inputs)) return
      const fullText = given.parameters.return_full_text ?? returnsFullText
      const request = { ...given, parameters: { ...given.parameters, return_full_text: fullText } }
      const hits = replica.faults.take(ANSWER_FAULTS, { path: exchange.path, prompt: given.inputs })
      const shape = shapeOf(request)
      if (shape === 'stream') generateStream(replica, exchange, request, hits)
      else generate(replica, exchange, request, hits, shape === 'array')
    }
  }
  const common = { method: 'POST', needsKey: true, generates: true } as const
  return [
    { ...common, path: '/generate_stream', handle: handler(generateRequest, () => 'stream', false) },
    { ...common, path: '/generate', handle: handler(generateRequest, () => 'object', false) },
    // The prompt comes first here, unless told otherwise, since /info calls the model a text-generation one.
    {
      ...common,
      path: '/',
      handle: handler(compatRequest, ({ stream }) => (stream ? 'stream' : 'array'), true),
    },
  ]
}

const get = (path: string, handle: Handler): Route => ({ path, method: 'GET', handle })

function asideRoutes(replica: Replica): readonly Route[] {
  const { faults, metrics } = replica
  return [
    ...['/', '/health', '/ping'].map((path) => get(path, (exchange) => health(replica, exchange))),
    get('/info', (exchange) => {
      const drift = faults.take(['drift'], { path: exchange.path }).get('drift')
      const version = drift === undefined ? {} : { version: drift.version ?? '9.9.9' }
      sendJson(exchange, 200, JSON.stringify({ ...replica.info, ...version }))
    }),
    ...documentationRoutes(),
    get('/metrics', (exchange) => {
      const many = faults.take(['many-series'], { path: exchange.path }).get('many-series')
      sendText(exchange, 200, metrics.render() + (many === undefined ? '' : seriesText(many.count ?? 20_000)))
    }),
    get('/v1/models', (exchange) => {
      const id = replica.info.model_id
      const model = { id, object: 'model', created: 0, owned_by: id }
      sendJson(exchange, 200, JSON.stringify({ object: 'list', data: [model] }))
    }),
  ]
}

/** A family of so many series. */
function seriesText(count: number): string {
  const lines = Array.from({ length: count }, (_, n) => `many_series{n="${n}"} ${n}`)
  return ['# TYPE many_series gauge', ...lines, ''].join('\n')
}

/** The description of the routes, and a page that links to it; TGI serves Swagger UI there. */
function documentationRoutes(): readonly Route[] {
  const paths = {
    '/': ['post'],
    '/generate': ['post'],
    '/generate_stream': ['post'],
    '/tokenize': ['post'],
    '/chat_tokenize': ['post'],
    '/health': ['get'],
    '/info': ['get'],
    '/metrics': ['get'],
    '/v1/models': ['get'],
  }
  const operations = Object.entries(paths).map(([path, methods]) => {
    const answers = { responses: { 200: { description: 'See TGI 3.3.7' } } }
    return [path, Object.fromEntries(methods.map((method) => [method, answers]))]
  })
  const description = JSON.stringify({
    openapi: '3.0.3',
    info: { title: 'Text Generation Inference (tgi-pool simulator)', version: '3.3.6-dev0' },
    paths: Object.fromEntries(operations),
  })
  const page =
    '<!doctype html><title>tgi-pool simulator</title><a href="/api-doc/openapi.json">/api-doc/openapi.json</a>'
  return [
    {
      path: '/api-doc/openapi.json',
      method: 'GET',
      handle: (exchange) => sendJson(exchange, 200, description),
    },
    { path: '/docs', method: 'GET', handle: (exchange) => sendEmpty(exchange, 303, { location: '/docs/' }) },
    {
      path: '/docs/',
      method: 'GET',
      handle: (exchange) => sendText(exchange, 200, page, { 'content-type': 'text/html; charset=utf-8' }),
    },
  ]
}

/** Neither takes a permit. */
function tokenizingRoutes(replica: Replica): readonly Route[] {
  const { metrics } = replica
  return [
    {
      path: '/tokenize',
      method: 'POST',
      needsKey: true,
      async handle(exchange) {
        const request = await receive(replica, exchange, generateRequest)
        if (request === undefined) return
        const { inputs } = request
        sendJson(exchange, 200, JSON.stringify(simpleTokens(inputs, encode(inputs, true))))
      },
    },
    {
      // Open even with a key (router/src/server.rs).
      path: '/chat_tokenize',
      method: 'POST',
      async handle(exchange) {
        const chat = await receive(replica, exchange, chatRequest)
        if (chat === undefined) return
        metrics.record('tgi_request_count', 1)
        const rendered = renderChat(chat.messages, replica.settings.chatMarker)
        if ('error' in rendered) {
          countFailure(replica, 'template')
          sendError(exchange, 'template_error', rendered.error)
          return
        }
        const tokens = simpleTokens(rendered.text, encode(rendered.text, false))
        sendJson(exchange, 200, JSON.stringify({ tokenize_response: tokens, templated_text: rendered.text }))
      },
    },
  ]
}

function controlRoutes(replica: Replica, controls: Controls): readonly Route[] {
  const order = (path: string): Route => ({
    path,
    method: 'POST',
    async handle(exchange) {
      const body = await receive(replica, exchange, (reader) => ({ value: reader.any() }))
      if (body === undefined) return
      const wrong = obey(controls, path, body.value)
      if (wrong === undefined) sendJson(exchange, 200, '{"ok":true}')
      else sendJson(exchange, 400, JSON.stringify({ error: wrong }))
    },
  })
  const state: Handler = (exchange) => sendJson(exchange, 200, JSON.stringify(controls.state()))
  return [
    { path: '/simulator/state', method: 'GET', handle: state },
    ...['/simulator/faults', '/simulator/health', '/simulator/info'].map(order),
  ]
}
