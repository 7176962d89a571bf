/** Bytes for people. */
export function mib(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`
}
