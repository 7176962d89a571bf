/** Messages of the Redis driver about a connection, and their meaning in plain words. */
const PLAIN: readonly (readonly [RegExp, string])[] = [
  [/^Reached the max retries per request limit/, 'connection to Redis lost'],
  [/^Command aborted due to connection close/, 'connection to Redis lost'],
  [/^Connection is closed/, 'connection to Redis closed'],
  [/^Stream isn't (?:writeable|ready)/, 'no connection to Redis'],
  [/^(?:Command timed out|Socket timeout)/, 'Redis did not answer in time'],
]

/** An error's message; in plain words if the library's own message is about its settings. */
export function plainMessage(message: string): string {
  return PLAIN.find(([pattern]) => pattern.test(message))?.[1] ?? message
}
