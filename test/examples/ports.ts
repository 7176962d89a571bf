import { freePort } from '../../src/redis/server.ts'

/** Where a text names a port: `127.0.0.1:8080`, `127.0.0.1-8080`, `--port 8080`, `PORT=8080`, `http.server 8080`, `.listen(8080`. */
const PORT = /((?:127\.0\.0\.1|localhost)[:-]|--port[ =]|PORT=|http\.server |\.listen\()(\d{2,5})\b/g

/** The ports that documents name, and those that stand for them in a test. */
export interface Ports {
  /** Puts the test's ports in the place of the document's. */
  rewrite(text: string): Promise<string>
  /** The port that stands for one. */
  of(port: string): Promise<string>
  set(port: string, actual: string): void
}

/** Ports of a machine where others may listen on the usual ones. */
export function createPorts(redisUrl: string): Ports {
  const actual = new Map([['6379', new URL(redisUrl).port]])
  async function of(port: string): Promise<string> {
    const known = actual.get(port) ?? String(await freePort())
    actual.set(port, known)
    return known
  }
  return {
    of,
    set: (port, other) => void actual.set(port, other),
    async rewrite(text) {
      for (const [, , port = ''] of text.matchAll(PORT)) await of(port)
      return text.replace(PORT, (_, before: string, port: string) => before + (actual.get(port) ?? port))
    },
  }
}
