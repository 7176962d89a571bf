import { buildOpenApi } from '../../src/gateway/openapi.ts'

/** One content of the document. */
interface Content {
  readonly schema: Readonly<Record<string, unknown>>
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>
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
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Content>> }>>
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
      Object.values(examples).map(({ value }) => value),
    ),
    responses,
  })),
)
