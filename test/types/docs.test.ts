import { fileURLToPath } from 'node:url'
import { API, SignatureKind, SymbolFlags } from 'typescript/unstable/sync'
import type { Checker, Symbol, Type } from 'typescript/unstable/sync'
import { expect, test } from 'vitest'

/** A name that a user's editor shows, and its comment. */
interface Doc {
  readonly path: string
  readonly text: string
}

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url))

/** Everything that `src/index.ts` exports, and every field behind it. */
function readDocs(): readonly Doc[] {
  const cwd = fileURLToPath(new URL('../../', import.meta.url))
  const api = new API({ cwd })
  try {
    const [project] = api.updateSnapshot({ openProject: 'tsconfig.json' }).getProjects()
    const door = project?.program.getSourceFile(`${SOURCES}index.ts`)
    const module = door && project?.checker.getSymbolAtLocation(door)
    if (project === undefined || module === undefined) throw new Error('src/index.ts is not in tsconfig.json')
    return walk(project.checker, module)
  } finally {
    api.close()
  }
}

function walk(checker: Checker, module: Symbol): readonly Doc[] {
  const docs: Doc[] = []
  const seen = new Set<number>()
  const exports = checker.getExportsOfModule(module).map((door) => {
    const symbol = door.flags & SymbolFlags.Alias ? checker.getAliasedSymbol(door) : door
    const isType = (symbol.flags & SymbolFlags.Type) !== 0
    const type = isType ? checker.getDeclaredTypeOfSymbol(symbol) : checker.getTypeOfSymbol(symbol)
    return { name: door.name, symbol, type }
  })
  const exported = new Set(exports.map(({ type }) => type?.id))

  function add(path: string, symbol: Symbol): void {
    docs.push({ path, text: symbol.getDocumentationComment(checker).trim() })
  }

  /** Adds what a type holds, unless it was or will be added under the type's own name. */
  function addInside(path: string, type: Type | undefined): void {
    if (type !== undefined && !seen.has(type.id) && !exported.has(type.id)) addFields(path, type)
  }

  function addFields(path: string, type: Type): void {
    seen.add(type.id)
    if (type.isUnionType()) {
      // A field that several have would have the comments of all: one without a comment would not be seen.
      for (const one of type.getTypes()) addInside(path, one)
      return
    }
    if (type.isTypeReference()) for (const one of checker.getTypeArguments(type)) addInside(path, one)
    for (const signature of checker.getSignaturesOfType(type, SignatureKind.Call)) {
      for (const parameter of signature.getParameters()) {
        addInside(`${path}(${parameter.name})`, checker.getTypeOfSymbol(parameter))
      }
      addInside(`${path}()`, checker.getReturnTypeOfSignature(signature))
    }
    for (const field of checker.getPropertiesOfType(type)) {
      const isOurs = field.declarations.some((one) =>
        one.path.toLowerCase().startsWith(SOURCES.toLowerCase()),
      )
      // What brands a type is nobody's field, and has no name.
      if (!isOurs || field.name.startsWith('__@')) continue
      add(`${path}.${field.name}`, field)
      addInside(`${path}.${field.name}`, checker.getTypeOfSymbol(field))
    }
  }

  for (const { name, symbol, type } of exports) {
    add(name, symbol)
    if (type !== undefined) addFields(name, type)
  }
  return docs
}

const docs = readDocs()

test('every name that the library exports has a comment, and so has every field behind it', () => {
  expect(docs.map(({ path }) => path)).toEqual(
    // It looks inside.
    expect.arrayContaining([
      'openPool',
      'PromptJob.inputs',
      'GenerationParameters.grammar.value',
      'PoolClient.enqueue',
      'Restart.data.reason',
      'PoolError.kind',
    ]),
  )
  expect(docs.filter(({ text }) => text === '')).toEqual([])
})

test('a comment is made of sentences', () => {
  expect(docs.filter(({ text }) => !/^[A-Z`][^]*[.…)]$/.test(text))).toEqual([])
})
