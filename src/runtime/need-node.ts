/**
 * Refuses a Node that is too old, with one sentence instead of a stack trace from some package. Every entry module imports it
 * first, for its effect: modules run in the order of their imports.
 */

/** As in `engines` of package.json. */
const MIN_NODE = [22, 19] as const

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) {
  const fault = new Error(
    `tgi-pool: expected Node ${MIN_NODE.join('.')} or newer, got ${process.versions.node} (${process.execPath}). Install a newer Node: https://nodejs.org`,
  )
  // The stack of this file does not help a reader.
  fault.stack = `${fault.name}: ${fault.message}`
  throw fault
}
