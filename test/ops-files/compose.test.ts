import { access, readFile } from 'node:fs/promises'
import { Ajv } from 'ajv'
import addFormats from 'ajv-formats'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { startCli } from '../cli/run-cli.ts'
import { COMPOSE, COMPOSE_TEXT, SERVICES, VARIABLES } from './compose-file.ts'
import { envFileOf, isOurs, scriptOf, seconds, servicesOf } from './compose-file.ts'
import { memoryOf } from './memory.ts'

const ROOT = new URL('../../', import.meta.url)
/** Runs to its end before the others start. */
const ONCE = ['secrets', 'pool', 'cli']
const OPERATORS = ['pool', 'cli']
const isReplica = (name: string) => /^(tgi|sim)-/.test(name)
const workers = (profile: string) => servicesOf(profile).filter(([name]) => name.startsWith('worker-'))

/**
 * compose-spec.json is the official schema, but for its white space: schema/compose-spec.json of
 * github.com/compose-spec/compose-spec at 170098ba07d9 (2026-06-23), Apache-2.0.
 */
test('the file is one by the Compose Specification', async () => {
  const schema = JSON.parse(await readFile(new URL('compose-spec.json', import.meta.url), 'utf8')) as object
  const ajv = new Ajv({ strict: false, allErrors: true })
  addFormats.default(ajv)
  // Ajv knows the draft by its other address.
  const validate = ajv.compile({ ...schema, $schema: 'http://json-schema.org/draft-07/schema#' })
  validate(COMPOSE)
  expect(validate.errors ?? []).toEqual([])
  // And what must fail does.
  expect(validate({ services: { a: { image: 'x', prots: [] } } })).toBe(false)
})

describe.each(SERVICES)('service %s', (name, service) => {
  test('runs an image that is pinned to a whole version or a digest, or built here', () => {
    if (isOurs(service)) expect(service.build).toEqual({ context: '.', dockerfile: 'ops/Dockerfile' })
    else expect(service.image).toMatch(/:\d+\.\d+\.\d+(-[a-z0-9.]+)?$|@sha256:[0-9a-f]{64}$/)
  })

  test('has no rights that it does not need', () => {
    expect(service).toMatchObject({ cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] })
    expect(service.privileged ?? false).toBe(false)
    expect(service.cap_add ?? []).toEqual([])
    expect(service.pids_limit).toBeGreaterThan(0)
    expect(service.network_mode).toBe(name === 'secrets' ? 'none' : undefined)
    expect((service.volumes ?? []).filter((volume) => volume.includes('docker.sock'))).toEqual([])
    // TGI compiles kernels at run time, into its own home.
    expect(service.read_only).toBe(!name.startsWith('tgi-'))
    // The image's user is 1000; volumes are made by root.
    if (name === 'secrets') expect(service.user).toBe('0:0')
    else expect(service.user ?? 'node').not.toMatch(/^(0|root)\b/)
  })

  test('has an end to its memory, and to its log', () => {
    if (!name.startsWith('tgi-')) expect(service.mem_limit).toMatch(/^\d+[mg]b?$/)
    expect(service).toMatchObject({ logging: { options: { 'max-size': expect.any(String) } } })
  })

  test('opens its ports on loopback only', () => {
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/)
    if (name === 'redis' || isReplica(name)) expect(service.ports).toBeUndefined()
  })

  test('tells whether it is well and is started again when it falls, unless it is meant to end', () => {
    if (ONCE.includes(name)) {
      expect(service).toMatchObject({ restart: 'no', healthcheck: { disable: true } })
    } else {
      expect(service.restart).toBe('unless-stopped')
      expect(service.healthcheck?.test?.length).toBeGreaterThan(1)
    }
  })

  test('uses volumes and networks that the file declares', () => {
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':')
      if (!source.startsWith('.')) expect(COMPOSE.volumes).toHaveProperty(source)
    }
    for (const network of service.networks ?? []) expect(COMPOSE.networks).toHaveProperty(network)
  })
})

describe.each(SERVICES.filter(([name, service]) => isOurs(service) && name !== 'secrets'))(
  'our %s',
  (_name, service) => {
    const [script = '', ...args] = scriptOf(service) ?? []
    const source = script.replace(/^dist\/(.*)\.js$/, '$1.ts')
    const verb = script.endsWith('main.js')
      ? args[0]
      : /workers\/(.*)\.js/.exec(script)?.[1]?.replace('generate', 'worker')

    test('runs a script that there is', async () => {
      await access(new URL(source, ROOT))
    })

    test('is told only what the command knows', async () => {
      const words = verb === undefined || verb.startsWith('-') ? ['--help'] : [verb, '--help']
      const { status, stdout } = await startCli(words).over
      expect(status).toBe(0)
      expect(stdout).toMatch(words.length > 1 ? `Usage: tgi-pool ${verb} ` : 'Usage: tgi-pool ')
      const { TGI_POOL: _pool, NODE_OPTIONS: _node, ...environment } = service.environment ?? {}
      for (const variable of Object.keys(environment)) expect(stdout).toMatch(new RegExp(`\\b${variable}\\b`))
      for (const flag of args.filter((arg) => arg.startsWith('--'))) expect(stdout).toContain(flag)
    })

    test('is asked for its health where it listens', () => {
      const url = service.healthcheck?.test?.at(-1)
      if (url === undefined) return
      const ports = Object.entries(service.environment ?? {}).filter(([variable]) =>
        variable.endsWith('_PORT'),
      )
      const port = ports[0]?.[1] ?? args[args.indexOf('--port') + 1]
      expect(new URL(url).port).toBe(port)
    })
  },
)

/**
 * What a process takes beside its heap: 75 MiB of code and stacks (a gateway whose heap of 280 MiB is full has 350 resident;
 * npm run fuzz), bodies that are being read, and the Node of a health check (45 MiB).
 */
const BESIDE_HEAP_BYTES = 160 * 2 ** 20

test.each(SERVICES.filter(([, service]) => isOurs(service)))(
  "Node's heap in %s fits the container's memory",
  (_name, service) => {
    const { limitBytes, oldSpaceBytes, semiSpaceBytes } = memoryOf(service)
    expect(oldSpaceBytes + 3 * semiSpaceBytes + BESIDE_HEAP_BYTES).toBeLessThanOrEqual(limitBytes)
    // A heap that is too small for no reason is a fault as well.
    expect(oldSpaceBytes).toBeGreaterThanOrEqual(limitBytes / 4)
  },
)

describe.each(['simulated', 'gpu'])('profile %s', (profile) => {
  const services = new Map(servicesOf(profile))

  test('has a worker for every replica, and each finds its replica on a network of both', () => {
    const served = workers(profile).map(([, { environment, networks = [] }]) => {
      const { hostname, port } = new URL(environment?.['TGI_REPLICA'] ?? '')
      const replica = services.get(hostname)
      expect(replica?.networks?.filter((network) => networks.includes(network))).not.toEqual([])
      expect(replica?.healthcheck?.test?.join(' ')).toContain(`:${port}/health`)
      expect(environment?.['TGI_REPLICA_ID']).toBe(hostname)
      return hostname
    })
    expect(served.length).toBeGreaterThan(1)
    expect(served.toSorted()).toEqual([...services.keys()].filter(isReplica).toSorted())
  })

  test('waits only for what runs in it', () => {
    for (const [, service] of services) {
      for (const other of Object.keys(service.depends_on ?? {})) expect([...services.keys()]).toContain(other)
    }
  })

  test('has Redis, a gateway and metrics', () => {
    expect([...services.keys()]).toEqual(expect.arrayContaining(['redis', 'gateway', 'metrics', 'secrets']))
  })
})

test('a worker has longer to stop than its jobs have to finish', () => {
  for (const [, service] of [...workers('simulated'), ...workers('gpu')]) {
    expect(seconds(service.stop_grace_period) * 1000).toBeGreaterThan(
      Number(service.environment?.['TGI_POOL_GRACE_MS']) + 10_000,
    )
  }
})

test('a TGI replica has GPUs, shared memory and its model, and takes its key and token from no command line', () => {
  const replicas = servicesOf('gpu').filter(([name]) => name.startsWith('tgi-'))
  for (const [, service] of replicas) {
    const command = service.command?.join(' ') ?? ''
    for (const flag of ['--model-id=', '--revision=', '--num-shard=']) expect(command).toContain(flag)
    expect(command).not.toMatch(/api-key|hf_/i)
    expect(service.shm_size).toBe('1gb')
    expect(JSON.stringify(service.deploy?.resources)).toContain('nvidia')
    expect(service.environment).toMatchObject({ API_KEY_FILE: '/secrets/replica/api_key' })
  }
  const gpus = replicas.map(([, { environment }]) => String(environment?.['CUDA_VISIBLE_DEVICES']))
  expect(new Set(gpus).size).toBe(replicas.length)
})

test('a worker waits until its pool is created, since it may not create one', () => {
  expect(COMPOSE.services['pool']?.command?.slice(-2)).toEqual(['pool', 'create'])
  for (const [, { depends_on: others, environment }] of [...workers('simulated'), ...workers('gpu')]) {
    expect(others?.['pool']).toEqual({ condition: 'service_completed_successfully' })
    expect(environment?.['TGI_POOL']).toBe(COMPOSE.services['pool']?.environment?.['TGI_POOL'])
  }
})

test('the secrets of volumes can be read by other users than the one that makes them', () => {
  expect(COMPOSE.services['secrets']?.command).toContain('--volumes')
})

test('Redis, and the way to it, are closed to the outside', () => {
  expect(COMPOSE.networks).toMatchObject({ redis: { internal: true }, replicas: { internal: true } })
  expect(COMPOSE.services['redis']?.networks).toEqual(['redis'])
})

test('a secret is in the volume of who reads it and nowhere else', () => {
  const readers = new Map<string, string[]>()
  for (const [name, service] of SERVICES) {
    for (const volume of service.volumes ?? []) {
      const [source = '', , mode] = volume.split(':')
      if (!source.startsWith('secrets-') || name === 'secrets') continue
      expect(mode).toBe('ro')
      readers.set(source, [
        ...(readers.get(source) ?? []),
        name.replace(/-(sim|tgi)-\d$/, '').replace(/-\d$/, ''),
      ])
    }
  }
  const shared = Object.fromEntries([...readers].map(([volume, names]) => [volume, [...new Set(names)]]))
  expect(shared).toEqual({
    'secrets-redis': ['redis'],
    'secrets-gateway': ['gateway'],
    'secrets-metrics': ['metrics'],
    'secrets-operator': OPERATORS,
    'secrets-worker': ['worker'],
    'secrets-replica': ['worker', 'tgi'],
  })
  expect(COMPOSE_TEXT).not.toMatch(/REDIS_URL|PASSWORD/)
})

test('whoever talks to Redis reads its address from its own secrets', () => {
  for (const [name, service] of SERVICES.filter((entry) => isOurs(entry[1]))) {
    const file = envFileOf(service)
    if (!service.networks?.includes('redis')) expect(file).toBeUndefined()
    else {
      const role = OPERATORS.includes(name) ? 'operator' : (name.split('-')[0] ?? '')
      expect(file).toBe(`/secrets/${role}/redis.env`)
      expect(service.volumes).toContain(`secrets-${role}:/secrets/${role}:ro`)
    }
  }
})

test('.env.example names every variable of compose.yaml, with the same default', async () => {
  const lines = (await readFile(new URL('.env.example', ROOT), 'utf8'))
    .split('\n')
    .filter((line) => /^\w/.test(line))
  const example = Object.fromEntries(lines.map((line) => line.split('=', 2)))
  expect(VARIABLES.filter(({ fallback }) => fallback === undefined)).toEqual([])
  expect(example).toEqual(Object.fromEntries(VARIABLES.map(({ name, fallback }) => [name, fallback])))
})

test('every anchor is used', () => {
  const used = new Set([...COMPOSE_TEXT.matchAll(/\*([a-z-]+)/g)].map(([, anchor]) => anchor))
  const made = [...COMPOSE_TEXT.matchAll(/&([a-z-]+)/g)].map(([, anchor]) => anchor)
  expect(made.filter((anchor) => !used.has(anchor))).toEqual([])
  expect(() => parse(COMPOSE_TEXT, { merge: true, strict: true, uniqueKeys: true }) as unknown).not.toThrow()
})
