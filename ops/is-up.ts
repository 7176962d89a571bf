/**
 * A container's health check: exits 0 when an address on this machine answers 2xx within 3 s.
 *
 *     node ops/is-up.ts http://127.0.0.1:8700/livez
 */
const [url = ''] = process.argv.slice(2)
const answer = await fetch(url, { signal: AbortSignal.timeout(3000), redirect: 'error' }).catch(
  () => undefined,
)
process.exit(answer?.ok === true ? 0 : 1)
