import type { Json } from './openapi-parts.ts'

/** A JSON Schema: the keywords that the page renders. */
export interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly default?: unknown
  readonly description?: string
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  /** `{}` for fields that are refused. */
  readonly not?: unknown
}

/** A parameter of an operation. */
interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly required?: boolean
  readonly description?: string
  readonly schema: Schema
  readonly example?: string | number
}

/** A body in one media type. */
export interface Content {
  readonly schema: Schema
  readonly examples?: Readonly<Record<string, { readonly value: unknown } | { readonly $ref: string }>>
}

/** A response of an operation. */
export interface Response {
  readonly description: string
  readonly content?: Readonly<Record<string, Content>>
  readonly links?: Readonly<Record<string, { readonly operationId: string }>>
}

/** One route and method. */
interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly description?: string
  readonly security?: readonly unknown[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> }
  readonly responses: Readonly<Record<string, Response>>
  readonly 'x-codeSamples'?: readonly { readonly lang: string; readonly source: string }[]
}

/** An operation and where it is. */
export interface PlacedOperation extends Operation {
  readonly method: string
  readonly path: string
}

/** The operations of paths, in order. */
export function operationsOf(paths: Json): readonly PlacedOperation[] {
  return Object.entries(paths as Record<string, Record<string, Operation>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ ...operation, method, path })),
  )
}
