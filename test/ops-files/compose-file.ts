import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'

/** A service as compose.yaml has it after merges and defaults; only what our rules look at. */
export interface Service {
  readonly image: string
  readonly build?: unknown
  readonly profiles?: readonly string[]
  readonly user?: string
  readonly privileged?: boolean
  readonly read_only?: boolean
  readonly cap_add?: readonly string[]
  readonly cap_drop?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly network_mode?: string
  readonly networks?: readonly string[]
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly healthcheck?: { readonly disable?: boolean; readonly test?: readonly string[] }
  readonly restart?: string
  readonly mem_limit?: string
  readonly pids_limit?: number
  readonly shm_size?: string
  readonly stop_grace_period?: string
  readonly deploy?: { readonly resources?: unknown; readonly replicas?: string }
}

/** compose.yaml as a person wrote it. */
export const COMPOSE_TEXT = await readFile(new URL('../../compose.yaml', import.meta.url), 'utf8')

/** Every `${NAME:-default}` of compose.yaml. */
export const VARIABLES = [...COMPOSE_TEXT.matchAll(/\$\{([A-Z0-9_]+)(?::-([^}]*))?\}/g)].map(
  ([, name = '', fallback]) => ({ name, fallback }),
)

/** compose.yaml without anything in the environment. */
export const COMPOSE = parse(
  COMPOSE_TEXT.replaceAll(/\$\{[A-Z0-9_]+:-([^}]*)\}/g, (_whole, fallback: string) => fallback),
  { merge: true },
) as {
  readonly services: Readonly<Record<string, Service>>
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>
  readonly volumes: Readonly<Record<string, unknown>>
}

/** Every service with its name. */
export const SERVICES = Object.entries(COMPOSE.services)

/** The services that run with a profile: its own and those without any. */
export function servicesOf(profile: string): [string, Service][] {
  return SERVICES.filter(([, { profiles }]) => profiles === undefined || profiles.includes(profile))
}

/** Whether a service runs our own image. */
export function isOurs({ image }: Service): boolean {
  return image.startsWith('tgi-pool:')
}

/** The script that one of our services runs, e.g. `dist/workers/generate.js`, and what follows it. */
export function scriptOf({ entrypoint = [], command = [] }: Service): [string, ...string[]] | undefined {
  const [script, ...rest] = [...entrypoint, ...command].filter(
    (word) => word !== 'node' && !word.startsWith('--env-file'),
  )
  return script === undefined ? undefined : [script, ...rest]
}

/** The file that Node reads a service's Redis address from. */
export function envFileOf({ entrypoint = [], command = [] }: Service): string | undefined {
  return [...entrypoint, ...command]
    .find((word) => word.startsWith('--env-file='))
    ?.slice('--env-file='.length)
}

/** `75s`, `30m` in seconds. */
export function seconds(duration: string | undefined): number {
  const [, digits, unit] = /^(\d+)(s|m)$/.exec(duration ?? '') ?? []
  return Number(digits) * (unit === 'm' ? 60 : 1)
}
