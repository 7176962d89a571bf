/** A command that runs until it is ended. */
export interface Service {
  readonly command: RegExp
  /** What it says when it serves; a group in it is the port where it does. */
  readonly sign: RegExp
  /** The port that documents have for it. */
  readonly port?: string | undefined
}

/** The commands in documents that go on until somebody ends them. Every other one is run to its end. */
export const SERVICES: readonly Service[] = [
  { command: /tgi-pool -- simulator\b/, sign: /tgi-pool simulator .* at http/ },
  { command: /tgi-pool -- worker\b/, sign: /worker started/ },
  { command: /tgi-pool -- metrics\b/, sign: /metrics started/ },
  {
    command: /tgi-pool -- gateway\b/,
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
export const NOT_RUN: readonly NotRun[] = []
