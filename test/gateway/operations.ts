import { buildOpenApi } from '../../src/gateway/openapi.ts'

/** One content of the document. */
interface Content {
  readonly schema: Readonly<Record<string, unknown>>
  readonly examples?: Readonly<Record<string, { readonly value: unknown } | { readonly $ref: string }>>
}

/** A parameter of the document. */
interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Readonly<Record<string, unknown>>
}

/** An operation, as the document has it. */
export interface Operation {
  readonly method: string
  readonly path: string
  readonly parameters: readonly Parameter[]
  /** Examples of bodies. */
  readonly bodies: readonly unknown[]
  readonly responses: Readonly<Record<string, Response>>
}

/** A response of the document. */
interface Response {
  readonly content?: Readonly<Record<string, Content>>
  /** The statuses that a range such as `4XX` stands for. */
  readonly 'x-statuses'?: readonly number[]
}

/** The statuses that an operation may answer with. */
export function statusesOf({ responses }: Operation): readonly string[] {
  return Object.entries(responses).flatMap(
    ([status, { 'x-statuses': range }]) => range?.map(String) ?? [status],
  )
}

interface RawOperation {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> }
  readonly responses: Operation['responses']
}

/** Every operation of the OpenAPI document. */
export const OPERATIONS: readonly Operation[] = Object.entries(
  buildOpenApi()['paths'] as Record<string, Record<string, RawOperation>>,
).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { parameters = [], requestBody, responses }]) => ({
    method: method.toUpperCase(),
    path,
    parameters,
    bodies: Object.values(requestBody?.content ?? {}).flatMap(({ examples = {} }) =>
      Object.values(examples).map((example) => ('value' in example ? example.value : undefined)),
    ),
    responses,
  })),
)
