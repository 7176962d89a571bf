/** A fenced code block of a Markdown document. */
export interface Snippet {
  /** From the checkout's root. */
  readonly file: string
  /** Of its first line of code, from 1. */
  readonly line: number
  /** What stands behind the fence; empty when nothing does. */
  readonly lang: string
  readonly code: string
}

/** The fenced code blocks of a document (CommonMark, section 4.5), in order; indented fences, too. */
export function extractSnippets(file: string, markdown: string): Snippet[] {
  const snippets: Snippet[] = []
  let open: { fence: string; indent: number; lang: string; line: number; code: string[] } | undefined
  for (const [index, line] of markdown.split('\n').entries()) {
    const [, indent = '', fence, info = ''] = /^( *)(`{3,}|~{3,})(.*)$/.exec(line) ?? []
    if (open === undefined) {
      if (fence !== undefined)
        open = { fence, indent: indent.length, lang: info.trim(), line: index + 2, code: [] }
    } else if (fence?.startsWith(open.fence) === true && info.trim() === '') {
      snippets.push({ file, line: open.line, lang: open.lang, code: `${open.code.join('\n')}\n` })
      open = undefined
    } else {
      open.code.push(line.slice(Math.min(open.indent, line.length - line.trimStart().length)))
    }
  }
  if (open !== undefined) throw new Error(`${file}:${open.line}: a code block that does not end`)
  return snippets
}
