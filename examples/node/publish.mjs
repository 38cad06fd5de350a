// Publishes close requests, as docs/contract.md of closeorder wants them.

import { compatibilityPartitioner, ProduceAcks, Producer } from '@platformatic/kafka'
import { CloudEvent, Kafka } from 'cloudevents'

const TOPIC = 'closeorder.requests'

export class Publisher {
  #producer
  #last = Promise.resolve()

  constructor (brokers) {
    this.#producer = new Producer({
      clientId: 'closeorder-example-node',
      bootstrapBrokers: brokers.split(','),
      // A request that a broker loses leaves an order that can be paid.
      acks: ProduceAcks.ALL,
      // What is sent again after a lost answer is not written twice.
      idempotent: true,
      // Unasked an idempotent producer tries for ever: a stop and a person wait no longer than half a minute.
      retries: 5,
      // Requests of one order are served one after the other as long as they stand in one partition. By default this
      // client puts a key elsewhere than Java and "closeorder request" do.
      partitioner: compatibilityPartitioner
    })
  }

  /**
   * Publishes a request, text, about the order outTradeNo, and returns its topic, partition and offset: the source of
   * its outcome. Where it throws the request is not known to be written: publish it again then, under the same
   * request_id and with a new Publisher. requestId may be empty: then the id of the event names the request.
   */
  publish (outTradeNo, requestId, text) {
    // One after the other. The producer numbers what it sends when the answer comes: two that are sent side by side to
    // a partition have one number, and the broker drops the second as a repeat and says that it is written.
    const sent = this.#last.then(() => this.#send(outTradeNo, requestId, text))
    this.#last = sent.catch(() => {})
    return sent
  }

  async #send (outTradeNo, requestId, text) {
    const { headers, value } = Kafka.binary(new CloudEvent({
      type: 'closeorder.requested',
      source: '/examples/node',
      subject: outTradeNo,
      datacontenttype: 'application/json',
      data: text,
      // specversion, time (now) and where there is none an id are the SDK's. The id is the name of a request that has
      // no request_id.
      ...(requestId && { id: requestId })
    }))
    const { offsets } = await this.#producer.send({
      messages: [{
        topic: TOPIC,
        // The bare number, without quotes. As bytes: the partitioner puts a key that is a string in partition 0.
        key: Buffer.from(outTradeNo),
        value: Buffer.from(value),
        // An attribute that is not set is undefined in the SDK's headers. The SDK also makes the event's time the
        // timestamp of the record; it is left out here, as an old event would be an old record.
        headers: new Map(Object.entries(headers).filter(([, text]) => text !== undefined).map(([name, text]) => [Buffer.from(name), Buffer.from(text)]))
      }]
    })
    return { topic: offsets[0].topic, partition: offsets[0].partition, offset: Number(offsets[0].offset) }
  }

  async close () {
    await this.#last
    await this.#producer.close()
  }
}

/** What went wrong, for people. The client's own message says how often it tried, and its errors say why in vain. */
export function why (error) {
  return error.errors?.length > 0 ? `${error.message.replace(/\.$/, '')}: ${why(error.errors.at(-1))}` : error.message
}
