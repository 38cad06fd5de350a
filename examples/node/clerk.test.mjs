import assert from 'node:assert/strict'
import test from 'node:test'
import { Clerk, following } from './clerk.mjs'

/** Begins with a clerk, what it prints and asks, and a way to hand it records one after the other. */
function begin () {
  const printed = []
  const asked = []
  let offset = 0
  const clerk = new Clerk((line) => printed.push(line), async (outTradeNo, requestId, text) => asked.push(text), 60)
  const take = (type, value) => {
    const headers = new Map(Object.entries({
      ce_specversion: '1.0',
      ce_id: `id-${offset}`,
      ce_source: '/closeorder',
      ce_type: `closeorder.${type}`,
      'content-type': 'application/json'
    }))
    const text = value?.replace('OFFSET', offset)
    return clerk.take({ topic: 'closeorder.outcomes', partition: 0, offset: BigInt(offset++), headers, value: text && Buffer.from(text) })
  }
  return { clerk, printed, asked, take }
}

const answer = (result, requestId, safe, more = '') =>
  `{"outcome":"${result}","out_trade_no":"T1","mch_id":"1900000109","request_id":"${requestId}","safe_to_reissue":${safe},` +
  `"code":"X","replay":0,"source":{"topic":"t","partition":0,"offset":OFFSET}${more}}`

test('what cannot be read goes to a person each time', async () => {
  const { clerk, printed, take } = begin()
  await take('closed', 'text')
  await take('closed', '[]')
  await take('closed', '{"outcome":"closed","safe_to_reissue":"true"}')
  await take('paid', answer('closed', 'r-1', true))
  await take('failed', answer('failed', 'r-1', true))
  await take('closed', undefined)
  await clerk.take({ topic: 'closeorder.outcomes', partition: 0, offset: 6n, headers: new Map(), value: Buffer.from('{}') })
  assert.deepEqual(printed, Array(7).fill('{"action":"person","out_trade_no":"","request_id":""}'))
  assert.equal(clerk.actions, 7)
})

test('answers that name nothing are asked about one by one', async () => {
  const { clerk, asked, take } = begin()
  const nameless = (offset) => `{"outcome":"failed","safe_to_reissue":false,"replay":0,"source":{"topic":"t","partition":0,"offset":${offset}}}`
  await take('failed', nameless(1))
  await take('failed', nameless(2))
  await take('failed', nameless(1))
  assert.equal(clerk.actions, 2)
  assert.deepEqual(asked, [])
})

test('a request that was published twice is acted on once', async () => {
  const { printed, take } = begin()
  await take('closed', answer('closed', 'r-1', true, ',"replacement_out_trade_no":"T1-2"'))
  await take('closed', answer('closed', 'r-1', true, ',"replacement_out_trade_no":"T1-2"'))
  assert.deepEqual(printed, ['{"action":"reissue","out_trade_no":"T1","request_id":"r-1","new_out_trade_no":"T1-2"}'])
})

test('what is asked again has a new name, its age and its metadata', async () => {
  const { printed, asked, take } = begin()
  await take('closed', answer('closed', 'r-1', false, ',"metadata":{"order_created_at":"2026-01-31T08:00:00Z","cart":"c-81"}'))
  assert.deepEqual(printed, ['{"action":"ask_again","out_trade_no":"T1","request_id":"r-1"}'])
  const { not_before: notBefore, ...request } = JSON.parse(asked[0])
  assert.deepEqual(request, {
    out_trade_no: 'T1',
    mch_id: '1900000109',
    request_id: 'r-1+2',
    order_created_at: '2026-01-31T08:00:00Z',
    metadata: { order_created_at: '2026-01-31T08:00:00Z', cart: 'c-81' }
  })
  assert.ok(Date.parse(notBefore) > Date.now())
})

test('a failed is asked again once', async () => {
  const { clerk, asked, take } = begin()
  await take('failed', answer('failed', 'r-1', false))
  await take('failed', answer('failed', 'r-1+2', false))
  assert.equal(clerk.actions, 2)
  assert.equal(asked.length, 1)
})

test('an outcome that could not be asked again is not kept', async () => {
  const clerk = new Clerk(() => {}, async () => { throw new Error('no broker') }, 0)
  const headers = new Map(Object.entries({ ce_specversion: '1.0', ce_id: '1', ce_source: '/closeorder', ce_type: 'closeorder.failed', 'content-type': 'application/json' }))
  const message = { topic: 'closeorder.outcomes', partition: 0, offset: 0n, headers, value: Buffer.from(answer('failed', 'r-1', false).replace('OFFSET', 0)) }
  await assert.rejects(clerk.take(message), /no broker/)
  await assert.rejects(clerk.take(message), /no broker/)
  assert.equal(clerk.actions, 0)
})

test('names go on', () => {
  assert.equal(following('c-1'), 'c-1+2')
  assert.equal(following('c-1+2'), 'c-1+3')
  assert.equal(following('c+x'), 'c+x+2')
})
