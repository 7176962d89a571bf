import { readFile } from 'node:fs/promises'

/** How a bench measures, in Markdown: the comment at the head of its file, which is the one place that tells. */
export async function methodOf(name: string): Promise<string> {
  const source = await readFile(new URL(`../${name}.ts`, import.meta.url), 'utf8')
  const comment = /^\/\*\*\n([\s\S]*?)\n \*\//.exec(source)?.[1]
  if (comment === undefined) throw new Error(`bench/${name}.ts has no comment at its head`)
  return comment
    .split('\n')
    .map((line) => line.replace(/^ \* ?/, ''))
    .slice(1)
    .join('\n')
    .trim()
}
