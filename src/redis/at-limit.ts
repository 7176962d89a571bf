/**
 * The first line of a script that Redis also runs when it is out of memory (Redis 7 and Valkey:
 * https://redis.io/docs/latest/develop/programmability/eval-intro/#eval-flags). Without it Redis refuses every command that
 * may need memory, however little, so a running job would lose its lock and its tokens, and nothing would ever free memory.
 *
 * For scripts by which jobs run, move, end and are erased. What brings new jobs must not have it.
 */
export const AT_LIMIT = '#!lua flags=allow-oom\n'
