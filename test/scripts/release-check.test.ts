import { expect, test } from 'vitest'
import { releaseFaults } from '../../scripts/release-check.ts'

const GOOD = {
  version: '0.2.0',
  lockVersion: '0.2.0',
  changelog: '# Changelog\n\n## 0.2.0 (2026-12-24)\n\n- x\n\n## 0.1.0 (2026-12-01)\n',
  status: '',
  tags: ['v0.1.0'],
}

test('a commit that is ready has no fault, before its tag and with it', () => {
  expect(releaseFaults(GOOD)).toEqual([])
  expect(releaseFaults({ ...GOOD, version: '0.2.0', tags: ['v0.1.0', 'v0.2.0'], tag: 'v0.2.0' })).toEqual([])
})

test.each([
  [{ lockVersion: '0.1.0' }, 'package-lock.json: expected version 0.2.0, got 0.1.0'],
  [
    { changelog: '# Changelog\n\n## 0.2.0 (unreleased)\n' },
    'CHANGELOG.md: expected "## 0.2.0 (<date>)" as first heading, got "## 0.2.0 (unreleased)"',
  ],
  [
    { changelog: '# Changelog\n\n## 0.1.0 (2026-12-01)\n' },
    'CHANGELOG.md: expected "## 0.2.0 (<date>)" as first heading, got "## 0.1.0 (2026-12-01)"',
  ],
  [{ status: ' M README.md\n?? x\n' }, 'git: expected no uncommitted change, got 2'],
  [{ tags: ['v0.2.0'] }, 'git: the tag v0.2.0 exists already; expected a new version'],
  [{ tag: 'v0.3.0' }, 'git: expected tag v0.2.0, got v0.3.0'],
])('a commit with %j is refused in one sentence', (change, fault) => {
  expect(releaseFaults({ ...GOOD, ...change })).toEqual([fault])
})

test('a version that is none is refused', () => {
  const changelog = '## 1.2 (2026-12-24)\n'
  expect(releaseFaults({ ...GOOD, version: '1.2', lockVersion: '1.2', changelog })).toEqual([
    'package.json: expected a version such as 1.2.3 or 1.2.3-rc.1, got 1.2',
  ])
})
