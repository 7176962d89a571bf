import { fork } from 'node:child_process'

/** A script of ours in a process of its own, with a channel to it. */
export interface Child {
  readonly pid: number
  send(message: object): void
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
  /** Lets go of the channel, which the script takes as its end; kills it when that takes longer than 5 s. Idempotent. */
  stop(): Promise<void>
}

/** What to run, and who listens. */
export interface ChildOptions {
  readonly script: URL
  /** The script's one argument. */
  readonly argument: string
  /** Flags of Node besides this process's own. */
  readonly nodeFlags?: readonly string[] | undefined
  readonly onMessage: (message: unknown) => void
  /** It ended before {@link Child.stop}. */
  readonly onFault: (error: Error) => void
}

/** Starts a script with this very Node. What it writes goes to stderr. */
export function startChild(options: ChildOptions): Child {
  const child = fork(options.script, [options.argument], {
    stdio: ['ignore', 2, 2, 'ipc'],
    execArgv: [...process.execArgv, ...(options.nodeFlags ?? [])],
  })
  let stopping = false
  const exited = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      options.onFault(error)
      resolve()
    })
    child.once('exit', (code, signal) => {
      if (!stopping) options.onFault(new Error(`${options.script.pathname} ended with ${code ?? signal}`))
      resolve()
    })
  })
  child.on('message', options.onMessage)
  return {
    pid: child.pid ?? 0,
    send: (message) => child.send(message),
    async kill() {
      stopping = true
      child.kill('SIGKILL')
      await exited
    },
    async stop() {
      stopping = true
      if (child.connected) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await exited
      clearTimeout(timer)
    },
  }
}
