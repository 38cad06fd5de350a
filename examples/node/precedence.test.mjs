import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { read, supersedes } from './precedence.mjs'

const vectors = JSON.parse(readFileSync(new URL('../../testdata/events/precedence.json', import.meta.url)))

test('there are vectors', () => assert.ok(vectors.length > 20))

for (const v of vectors) {
  test(v.name, () => assert.equal(supersedes(read(v.current_id, v.current), read(v.next_id, v.next)), v.supersedes))
}
