#!/usr/bin/env node
'use strict'
// The command `tgi-pool`. In old JavaScript and without packages, so that every Node reads it and an old one says what
// is wrong with it. A checkout runs from its sources, without a build; the package has none and runs from `dist`.
var existsSync = require('fs').existsSync
var path = require('path')
var wanted = require('../package.json').engines.node.replace('>=', '')

var numbers = function (version) {
  return version.split('.').map(Number)
}
var need = numbers(wanted)
var have = numbers(process.versions.node)
var inCheckout = existsSync(path.join(__dirname, '..', 'src', 'cli', 'main.ts'))

if (have[0] < need[0] || (have[0] === need[0] && have[1] < need[1])) {
  process.stderr.write(
    'tgi-pool: expected Node ' +
      wanted +
      ' or newer, got ' +
      process.versions.node +
      ' (' +
      process.execPath +
      '). ' +
      (inCheckout
        ? 'On Linux, npm run setup installs one for this checkout; elsewhere: https://nodejs.org\n'
        : 'Install a newer Node: https://nodejs.org\n'),
  )
  process.exit(2)
}

import(inCheckout ? '../src/cli/main.ts' : '../dist/src/cli/main.js').catch(function (error) {
  if (
    !inCheckout ||
    error.code !== 'ERR_MODULE_NOT_FOUND' ||
    existsSync(path.join(__dirname, '..', 'node_modules'))
  ) {
    throw error
  }
  process.stderr.write('tgi-pool: the packages of this checkout are not installed. Run: npm run setup\n')
  process.exit(1)
})
