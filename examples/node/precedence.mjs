// Which outcome of a request counts. Nothing of Kafka is known here. It is events.Supersedes of closeorder in
// JavaScript, and held to its vectors (testdata/events/precedence.json) by precedence.test.mjs.

/**
 * Makes an outcome of a CloudEvent's id and data. Fields that it does not know are ignored: new ones may come. It is
 * strict about those that it needs, and throws what is wrong with them: a wrong "closed" lets a buyer pay twice.
 */
export function read (id, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('the value is not a JSON object')
  if (!['closed', 'paid', 'failed'].includes(value.outcome)) throw new Error(`outcome is ${JSON.stringify(value.outcome)}, not closed, paid or failed`)
  const safe = value.safe_to_reissue
  if (typeof safe !== 'boolean') throw new Error('safe_to_reissue is neither true nor false')
  if (safe && value.outcome !== 'closed') throw new Error(`safe_to_reissue is true, and outcome is ${value.outcome}`)
  const source = value.source
  if (typeof source !== 'object' || source === null) throw new Error('source is not an object')
  return {
    id, // the same for every repeat of this outcome
    result: value.outcome,
    mchId: text(value, 'mch_id'),
    subMchId: text(value, 'sub_mch_id'),
    outTradeNo: text(value, 'out_trade_no'),
    requestId: text(value, 'request_id'),
    replacement: text(value, 'replacement_out_trade_no'),
    replay: number(value, 'replay'), // 0 for an original, else which replay of the dead letter
    source: [text(source, 'topic'), number(source, 'partition'), number(source, 'offset')], // the record that is answered
    safeToReissue: safe, // true only when the old number can no longer be paid
    value
  }
}

function text (object, field) {
  const value = object[field] ?? '' // what is not known is left out
  if (typeof value !== 'string') throw new Error(`${field} is no text`)
  return value
}

function number (object, field) {
  if (!Number.isSafeInteger(object[field])) throw new Error(`${field} is no whole number`)
  return object[field]
}

/** closed and paid rest on proof and stay; failed proves nothing. */
const isFinal = (o) => o.result === 'closed' || o.result === 'paid'

/** Whether the order or the request could be read of the record. */
const isNamed = (o) => o.outTradeNo !== '' || o.requestId !== ''

/**
 * What names the request that an outcome answers, as text for a Map: the same number at another merchant is another
 * order. Answers to records so broken that they name nothing are told apart by their record.
 */
export function request (o) {
  return JSON.stringify(isNamed(o) ? [o.mchId, o.subMchId, o.outTradeNo, o.requestId] : [o.mchId, o.subMchId, record(o)])
}

const record = (o) => JSON.stringify([o.source, o.replay])

/** Whether next takes the place of current as the answer to their request. */
export function supersedes (current, next) {
  if (request(current) !== request(next)) return false
  // A repeat has the same id and says nothing new, also where it says something else: of repeats that differ the first
  // counts.
  if ((current.id && current.id === next.id) || record(current) === record(next)) return false
  if (isFinal(current)) return false
  // failed gives way to proof, whichever record of the request brought it, and to the failed of a later replay.
  return isFinal(next) || next.replay > current.replay
}
