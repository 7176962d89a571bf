import { once } from 'node:events'
import { connect } from 'node:net'
import type { AclRedis } from './stage.ts'

/**
 * Asks Redis which of these commands a user may run (ACL DRYRUN). They are thousands, so they go out as one text: the driver
 * takes ten times as long.
 */
export async function dryRun(
  { adminUrl }: Pick<AclRedis, 'adminUrl'>,
  user: string,
  commands: readonly (readonly string[])[],
): Promise<boolean[]> {
  const { hostname, port, username, password } = new URL(adminUrl)
  const socket = connect(Number(port), hostname)
  try {
    await once(socket, 'connect')
    const asked = [
      ['AUTH', username, password],
      ...commands.map((words) => ['ACL', 'DRYRUN', user, ...words]),
    ]
    socket.write(asked.map(encode).join(''))
    let text = ''
    let answers: string[] = []
    for await (const chunk of socket.setEncoding('utf8') as AsyncIterable<string>) {
      text += chunk
      if (!text.endsWith('\r\n')) continue
      answers = text.split('\r\n').filter((line) => line !== '' && !line.startsWith('$'))
      if (answers.length >= asked.length) break
    }
    return answers.slice(1).map((answer, at) => {
      if (answer === '+OK') return true
      if (/has no permissions/.test(answer)) return false
      throw new Error(`${commands[at]?.join(' ')}: ${answer}`)
    })
  } finally {
    socket.destroy()
  }
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}
