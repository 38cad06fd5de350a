// What an order service does about outcomes, each request once.

import { Kafka } from 'cloudevents'
import * as precedence from './precedence.mjs'

const ASKED_AGAIN = /^(.+)\+([0-9]{1,6})$/s
const ECHOED = ['mch_id', 'appid', 'sub_mch_id', 'sub_appid', 'out_trade_no', 'replacement_out_trade_no', 'metadata']

/** Acts on outcomes. An action is a line of JSON for print; yours are in its place. */
export class Clerk {
  #print
  #publish
  #pause
  // One outcome for each request. In your service this is a table with the request as its key, and what you do about an
  // outcome is written in one transaction with the row: then a crash in between repeats nothing (see examples/shop).
  // Here it is in memory: what was not committed when the process died is acted on again.
  #kept = new Map()
  actions = 0

  /**
   * publish takes the number of an order, a request_id and the text of a request, and returns a promise that holds when
   * it is written, and is rejected where that is not known. pause is in seconds.
   */
  constructor (print, publish, pause) {
    this.#print = print
    this.#publish = publish
    this.#pause = pause
  }

  /** Acts on a record of the outcomes topic, unless it says nothing new. One at a time. */
  async take (message) {
    let next
    try {
      next = decode(message)
    } catch (e) {
      // A person looks at it, and the outcomes behind it are read on: one record must not hold up all orders.
      console.error(`follow: ${place(message)}: not an outcome: ${e.message}`)
      this.#say('person', '', '')
      return
    }
    // The ce_id alone is not enough: a request that was published twice has two outcomes with an id each, and acting on
    // both issues two numbers.
    const request = precedence.request(next)
    const current = this.#kept.get(request)
    if (current && !precedence.supersedes(current, next)) return
    await this.#act(next)
    this.#kept.set(request, next)
  }

  // By outcome and safe_to_reissue alone: a code is for people, and new ones may come.
  async #act (o) {
    if (o.result === 'paid') {
      // The buyer has paid after all: deliver. If the purchase is paid or given up already, refund.
      this.#say('settle', o.outTradeNo, o.requestId)
    } else if (o.result === 'closed' && o.safeToReissue) {
      // The old number can never be paid. Issue the new one, if the old one is still the purchase's current one and the
      // purchase is open.
      if (o.replacement) this.#say('reissue', o.outTradeNo, o.requestId, o.replacement)
      else this.#say('give_up', o.outTradeNo, o.requestId)
    } else if (o.result === 'closed') {
      // Nothing is payable now, but a create call that is still on its way may make it so: no new number yet.
      await this.#askAgain(o)
      this.#say('ask_again', o.outTradeNo, o.requestId)
    } else {
      // failed: nothing is known, the order may be payable. A person sees to it, and it is asked about once more: in
      // your service again and again, with growing pauses.
      if (o.outTradeNo && o.mchId && !ASKED_AGAIN.test(o.requestId)) await this.#askAgain(o)
      this.#say('person', o.outTradeNo, o.requestId)
    }
  }

  // Publishes the request under a new request_id, as an answer under the old one would be taken for a repeat. It is
  // written before the outcome is committed, and waits at the worker (not_before) and not here: a crash loses nothing.
  async #askAgain (o) {
    // A number in metadata beyond 2^53 has been rounded by now: send such as text.
    const request = Object.fromEntries(ECHOED.filter((field) => field in o.value).map((field) => [field, o.value[field]]))
    request.request_id = following(o.requestId)
    // The age of the order makes "nobody has ever seen it" safe. Your service knows when it sent the last create call;
    // here metadata has brought it along.
    const createdAt = o.value.metadata?.order_created_at
    if (typeof createdAt === 'string') request.order_created_at = createdAt
    if (this.#pause > 0) request.not_before = new Date(Date.now() + this.#pause * 1000).toISOString()
    await this.#publish(o.outTradeNo, request.request_id, JSON.stringify(request))
  }

  #say (action, outTradeNo, requestId, newOutTradeNo) {
    this.#print(JSON.stringify({ action, out_trade_no: outTradeNo, request_id: requestId, new_out_trade_no: newOutTradeNo }))
    this.actions++
  }
}

/** Reads a record of the outcomes topic, a CloudEvent in binary mode; any error means that it is none. */
export function decode (message) {
  // Header values must be text by now: of bytes the SDK makes ids that equal no other. Without the key: it is your
  // request's, which may be any bytes. The value names the order.
  const event = Kafka.toEvent({ headers: Object.fromEntries(message.headers), value: message.value })
  const outcome = precedence.read(event.id, event.data)
  if (event.type !== `closeorder.${outcome.result}`) throw new Error(`its type is ${event.type}, and outcome is ${outcome.result}`)
  return outcome
}

/** Where a record stands, for people who look for it. */
export function place (message) {
  return `topic ${message.topic}, partition ${message.partition}, offset ${message.offset}`
}

/** The name of the next request about an order: c-1, c-1+2, c-1+3. */
export function following (requestId) {
  const asked = ASKED_AGAIN.exec(requestId)
  return asked ? `${asked[1]}+${Number(asked[2]) + 1}` : `${requestId}+2`
}
