// Asks closeorder to close orders: one by flags, or many as NDJSON on standard input.

import { randomUUID } from 'node:crypto'
import { stdin } from 'node:process'
import { text as all } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { Publisher, why } from './publish.mjs'

const USAGE = `usage: request.mjs --brokers HOST:PORT,... --mch-id ID --out-trade-no NUMBER [--replacement NUMBER] [--request-id ID]
                   [--order-created-at TIME] [--reason TEXT]
       request.mjs --brokers HOST:PORT,... <requests.ndjson`

function flags () {
  const string = { type: 'string' }
  const { values } = parseArgs({
    options: {
      brokers: string,
      'mch-id': string,
      'out-trade-no': string,
      replacement: string,
      'request-id': string,
      'order-created-at': string,
      reason: string
    }
  })
  const { brokers, ...request } = values
  if (!brokers) throw new Error('--brokers is missing')
  if (Object.keys(request).length > 0 && !(request['out-trade-no'] && request['mch-id'])) throw new Error('a request by flags needs --out-trade-no and --mch-id')
  return values
}

function fromFlags (values) {
  const request = {
    mch_id: values['mch-id'],
    out_trade_no: values['out-trade-no'],
    // The name by which the outcome is matched. Your service writes it down with the order before it publishes.
    request_id: values['request-id'] ?? randomUUID(),
    reason: values.reason,
    // With it an order that nobody has ever seen is known to be old enough: it is safe to reissue, and does not have to
    // be asked about again.
    order_created_at: values['order-created-at'],
    // It comes back in the outcome, so that whoever acts on it need not look it up.
    replacement_out_trade_no: values.replacement
  }
  return { outTradeNo: request.out_trade_no, requestId: request.request_id, text: JSON.stringify(request) }
}

// Only what publishing needs is checked: the worker checks all of it, and answers what it refuses with a failed outcome
// that says why. A line is published as it stands: numbers that JavaScript rounds stay what they are.
function fromLines (input) {
  return input.split('\n').flatMap((text, index) => {
    if (text.trim() === '') return []
    let request
    try {
      request = JSON.parse(text)
    } catch (e) {
      throw new Error(`line ${index + 1}: not JSON: ${e.message}`)
    }
    const { out_trade_no: outTradeNo, request_id: requestId = '' } = request ?? {}
    if (typeof outTradeNo !== 'string' || outTradeNo === '') throw new Error(`line ${index + 1}: no out_trade_no, and so no key to publish it under`)
    if (typeof requestId !== 'string') throw new Error(`line ${index + 1}: request_id is not text`)
    return [{ outTradeNo, requestId, text }]
  })
}

let values, requests
try {
  values = flags()
  requests = values['out-trade-no'] ? [fromFlags(values)] : fromLines(await all(stdin))
} catch (e) {
  // All are read before the first one is published: a mistake publishes nothing.
  console.error(`request: ${e.message}\n${USAGE}`)
  process.exit(2)
}
// In your service what is to be published stands in an outbox, written in one transaction with why; this is then the
// relay of it: see examples/shop.
const publisher = new Publisher(values.brokers)
try {
  for (const { outTradeNo, requestId, text } of requests) {
    try {
      // An outcome names its source: where the request itself could not be read, this is how to match them.
      console.log(JSON.stringify({ out_trade_no: outTradeNo, ...await publisher.publish(outTradeNo, requestId, text) }))
    } catch (e) {
      throw new Error(`${outTradeNo} and those behind it are not known to be written: ${why(e)}`, { cause: e })
    }
  }
} catch (e) {
  console.error(`request: ${e.message}`)
  process.exitCode = 1
}
await publisher.close()
