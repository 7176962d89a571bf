/**
 * Refuses a Node that is too old, in one sentence instead of a stack trace from some package. Imported for its effect, and
 * first, by every module that somebody may load: modules run in the order of their imports.
 */

/** As `engines` in package.json has it. */
const MIN_NODE = [22, 19] as const

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1])) {
  const fault = new Error(
    `tgi-pool: expected Node ${MIN_NODE.join('.')} or newer, got ${process.versions.node} (${process.execPath}). Install a newer Node: https://nodejs.org`,
  )
  // Where this file is says nothing to a reader.
  fault.stack = `${fault.name}: ${fault.message}`
  throw fault
}
