import { BODIES } from './bodies.ts'
import { drawHttpBody } from './http-bodies.ts'
import { drawFraming } from './http-framing.ts'
import { drawHeaders } from './http-headers.ts'
import { drawPipeline } from './http-pipeline.ts'
import { drawRoute } from './http-routes.ts'
import { drawCrowd, drawSlow } from './http-slow.ts'
import { drawRaces, drawStreams } from './http-streams.ts'
import {
  JOB_BODIES,
  drawFieldsJob,
  drawIdsJob,
  drawJobBody,
  drawNotJsonJob,
  drawPlacesJob,
  drawProgressJob,
} from './job-shots.ts'
import type { Generator } from './shot.ts'

/** All generators by name: `http-…` sends to the gateway, `job-…` puts into Redis. */
export const GENERATORS: Readonly<Record<string, Generator>> = {
  ...Object.fromEntries(
    Object.entries(BODIES).map(([name, { what, draw }]): [string, Generator] => [
      `http-${name}`,
      { what, draw: (random, context) => drawHttpBody(random, context, draw) },
    ]),
  ),
  'http-routes': { what: 'every route and method with odd ids and queries', draw: drawRoute },
  'http-headers': { what: 'odd values of headers, and many of them', draw: drawHeaders },
  'http-framing': { what: 'heads and chunks that are not as HTTP has them', draw: drawFraming },
  'http-pipeline': { what: 'thousands of requests in one write', draw: drawPipeline },
  'http-slow': { what: 'bodies that come slowly, in tiny chunks, or not to their end', draw: drawSlow },
  'http-crowd': { what: 'large bodies on many connections at once', draw: drawCrowd },
  'http-streams': { what: 'event streams with odd cursors, many at once, left early', draw: drawStreams },
  'http-races': { what: 'one job enqueued, read, cancelled and erased at once', draw: drawRaces },
  ...Object.fromEntries(
    JOB_BODIES.map(([name, { what, draw }]): [string, Generator] => [
      `job-${name}`,
      { what, draw: (random, context) => drawJobBody(random, context, draw) },
    ]),
  ),
  'job-not-json': { what: 'data that is no JSON, or no object', draw: drawNotJsonJob },
  'job-fields': { what: "odd values of BullMQ's own fields, and foreign ones", draw: drawFieldsJob },
  'job-progress': { what: 'odd memories of earlier attempts', draw: drawProgressJob },
  'job-ids': { what: 'ids that no producer of ours makes', draw: drawIdsJob },
  'job-places': { what: 'jobs in several lists, twice, or without their hash', draw: drawPlacesJob },
}
