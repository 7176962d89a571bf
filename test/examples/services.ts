/** A command that runs until it is ended. */
export interface Service {
  readonly command: RegExp
  /** What it says when it serves; a group in it is the port where it does. */
  readonly sign: RegExp
  /** The port that documents have for it. */
  readonly port?: string | undefined
}

/** Starts a worker. */
export const WORKER = /tgi-pool (?:-- )?worker\b/

/** Starts a gateway. */
export const GATEWAY = /tgi-pool (?:-- )?gateway\b/

/** The commands in documents that go on until somebody ends them. Every other one is run to its end. */
export const SERVICES: readonly Service[] = [
  { command: /tgi-pool (?:-- )?simulator\b/, sign: /tgi-pool simulator .* at http/ },
  // Beside a worker of the same replica, it stands by.
  { command: WORKER, sign: /replica is ready|standing by/ },
  { command: /tgi-pool (?:-- )?metrics\b/, sign: /metrics server started/ },
  {
    command: GATEWAY,
    sign: /"url":"http:\/\/127\.0\.0\.1:(\d+)".*gateway started/,
    port: '8700',
  },
  { command: /npm run demo -- --keep\b/, sign: /curl -N http:\/\/127\.0\.0\.1:(\d+)\//, port: '8700' },
  { command: /examples\/node\/sse-server\.ts/, sign: /listening/ },
  { command: /python3 -m http\.server\b/, sign: /Serving HTTP/ },
]

/** A command or code block that no test can run, and why. */
export interface NotRun {
  readonly file: string
  readonly text: string
  readonly why: string
}

/** Whatever stands here must stand in its document, too. */
export const NOT_RUN: readonly NotRun[] = [
  { file: 'README.md', text: 'npm test', why: 'it would run the tests within a test' },
]
