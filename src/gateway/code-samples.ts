import { shellWord } from '../runtime/shell-word.ts'
import { operationsOf } from './openapi-document.ts'
import type { PlacedOperation } from './openapi-document.ts'
import type { Json } from './openapi-parts.ts'
import { GATEWAY_DEFAULTS } from './options.ts'

const BASE = `http://${GATEWAY_DEFAULTS.host}:${GATEWAY_DEFAULTS.port}`

/** Adds a curl command, built from its examples, to each operation in `x-codeSamples`, where renderers look for it. */
export function withCodeSamples(paths: Json): Json {
  const result: Record<string, Record<string, unknown>> = {}
  for (const { path, method, ...operation } of operationsOf(paths)) {
    const source = curlOf({ path, method, ...operation })
    const sample = { lang: 'Shell', label: 'curl', source }
    result[path] = { ...result[path], [method]: { ...operation, 'x-codeSamples': [sample] } }
  }
  return result
}

/** The curl command of an operation on a local gateway. */
function curlOf({ method, path, parameters = [], requestBody, responses }: PlacedOperation): string {
  const given = parameters.filter(({ example }) => example !== undefined)
  const query = new URLSearchParams()
  for (const parameter of given)
    if (parameter.in === 'query') query.append(parameter.name, String(parameter.example))
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    String(given.find((parameter) => parameter.name === name)?.example ?? `<${name}>`),
  )
  const contents = Object.values(responses).flatMap(({ content = {} }) => Object.keys(content))
  // Without -N, curl buffers events.
  const streams = contents[0] === 'text/event-stream'
  const [type, content] = Object.entries(requestBody?.content ?? {})[0] ?? []
  const body = Object.values(content?.examples ?? {}).find((example) => 'value' in example)
  return [
    `curl ${streams ? '-N ' : ''}${method === 'get' || body !== undefined ? '' : `-X ${method.toUpperCase()} `}${shellWord(BASE + filled + (query.size === 0 ? '' : `?${query.toString()}`))}`,
    ...(type === undefined || body === undefined
      ? []
      : [`-H ${shellWord(`Content-Type: ${type}`)}`, `-d ${shellWord(JSON.stringify(body.value))}`]),
  ].join(' \\\n  ')
}
